/* What of a run happens, as text: REGIONS:PLAIN:MS:ATOM,ATOM,… with the regions' numbers joined by '+', the knobs as a
 * hexadecimal number, the length of chaos (0: as drawn), an atom as cREGION.CLIENT.N (a request), FAULT.N (a strike),
 * act.N (of an operator) or join.N (of the late region). */
#include "tests/sim/world.h"

#include <stdio.h>
#include <stdlib.h>

const char *sim_atom_name(uint32_t kind)
{
    if (kind < SIM_FAULT_COUNT) return sim_fault_name((sim_fault)kind);
    return kind == SIM_ATOM_ACT ? "act" : "join";
}

bool sim_plan_keeps(const sim_plan *plan, sim_atom atom)
{
    if (!plan->small) return true;
    uint32_t from = 0, to = plan->kept_count;
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        if (plan->kept[middle] == atom) return true;
        if (plan->kept[middle] < atom)
            from = middle + 1;
        else
            to = middle;
    }
    return false;
}

void sim_plan_print(const sim_plan *plan, sk_buf *text)
{
    const char *before = "";
    for (uint32_t i = 0; i < 64; i++) {
        if (!(plan->regions >> i & 1)) continue;
        sk_buf_printf(text, "%s%u", before, i);
        before = "+";
    }
    sk_buf_printf(text, ":%x:%llu:", plan->plain, (unsigned long long)plan->chaos_ms);
    for (uint32_t i = 0; i < plan->kept_count; i++) {
        sim_atom atom = plan->kept[i];
        if (i) sk_buf_printf(text, ",");
        if (atom >> 62)
            sk_buf_printf(text, "c%u.%u.%llu", (unsigned)(atom >> 48 & 0xff), (unsigned)(atom >> 40 & 0xff),
                          (unsigned long long)(atom & 0xffffffff));
        else
            sk_buf_printf(text, "%s.%llu", sim_atom_name((uint32_t)(atom >> 48)),
                          (unsigned long long)(atom & 0xffffffff));
    }
}

/* -- reading ------------------------------------------------------------------------------------------------------- */

/* Digits, at most `max`. */
static bool read_number(const char **at, int base, uint64_t max, uint64_t *number)
{
    char *end;
    bool digit = (**at >= '0' && **at <= '9') || (base == 16 && **at >= 'a' && **at <= 'f');
    if (!digit) return false;
    *number = strtoull(*at, &end, base);
    *at = end;
    return *number <= max;
}

static bool read_sign(const char **at, char sign)
{
    if (**at != sign) return false;
    ++*at;
    return true;
}

static bool read_request(const char **at, sim_atom *atom)
{
    uint64_t region, client, n;
    bool good = read_number(at, 10, SIM_REGIONS_MAX - 1, &region) && read_sign(at, '.') &&
                read_number(at, 10, SIM_CLIENTS_MAX - 1, &client) && read_sign(at, '.') &&
                read_number(at, 10, UINT32_MAX, &n);
    if (good) *atom = sim_atom_request((uint32_t)region, (uint32_t)client, n);
    return good;
}

static bool read_strike(const char **at, sim_atom *atom)
{
    for (uint32_t kind = 0; kind < SIM_ATOM_KINDS; kind++) {
        const char *name = sim_atom_name(kind);
        size_t len = strlen(name);
        uint64_t n;
        if (strncmp(*at, name, len) != 0 || (*at)[len] != '.') continue;
        *at += len + 1;
        if (!read_number(at, 10, UINT32_MAX, &n)) return false;
        *atom = sim_atom_strike(kind, n);
        return true;
    }
    return false;
}

static bool read_atoms(const char **at, sim_plan *plan)
{
    while (**at) {
        sim_atom atom;
        bool request = (*at)[0] == 'c' && (*at)[1] >= '0' && (*at)[1] <= '9';
        if (request) ++*at;
        if (!(request ? read_request(at, &atom) : read_strike(at, &atom))) return false;
        if (plan->kept_count && plan->kept[plan->kept_count - 1] >= atom) return false;
        plan->kept = sk_realloc(plan->kept, (plan->kept_count + 1) * sizeof *plan->kept);
        plan->kept[plan->kept_count++] = atom;
        if (**at && (!read_sign(at, ',') || **at == 0)) return false;
    }
    return true;
}

bool sim_plan_read(const char *text, sim_plan *plan)
{
    uint64_t number;
    *plan = (sim_plan){.small = true};
    do {
        if (!read_number(&text, 10, SIM_REGIONS_MAX - 1, &number)) return false;
        plan->regions |= (uint64_t)1 << number;
    } while (read_sign(&text, '+'));
    if (!read_sign(&text, ':') || !read_number(&text, 16, UINT32_MAX, &number) || !read_sign(&text, ':')) return false;
    plan->plain = (uint32_t)number;
    if (!read_number(&text, 10, UINT32_MAX, &plan->chaos_ms) || !read_sign(&text, ':')) return false;
    return read_atoms(&text, plan);
}

void sim_plan_copy(sim_plan *to, const sim_plan *from)
{
    sim_atom *kept = sk_realloc(to->kept, (from->kept_count + 1) * sizeof *kept);
    if (from->kept_count) memcpy(kept, from->kept, from->kept_count * sizeof *kept);
    *to = *from;
    to->kept = kept;
}

void sim_plan_free(sim_plan *plan)
{
    free(plan->kept);
    *plan = (sim_plan){0};
}
