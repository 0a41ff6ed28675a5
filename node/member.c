#include "node/member.h"

#include <stdlib.h>

/* -- records ------------------------------------------------------------------------------------------------------- */

void sk_member_pack(sk_buf *buf, const sk_member_record *record)
{
    sk_pack_uint(buf, record->state);
    sk_pack_uint(buf, record->until_ms);
    sk_pack_uint(buf, record->forgets);
    sk_pack_array(buf, record->addresses.count);
    for (uint32_t i = 0; i < record->addresses.count; i++) sk_pack_bytes(buf, record->addresses.text[i]);
}

bool sk_member_read(sk_bytes bytes, sk_member_record *record)
{
    sk_reader reader = sk_reader_of(bytes);
    uint64_t state = sk_read_uint(&reader);
    *record = (sk_member_record){.state = (sk_member_state)state};
    record->until_ms = sk_read_uint(&reader);
    record->forgets = sk_read_uint(&reader);
    record->addresses.count = sk_read_array(&reader);
    if (reader.bad || state > SK_MEMBER_FORGOTTEN || record->addresses.count > SK_MEMBER_ADDRESSES_MAX) return false;
    for (uint32_t i = 0; i < record->addresses.count; i++) {
        record->addresses.text[i] = sk_read_bytes(&reader);
        if (record->addresses.text[i].len > SK_MEMBER_ADDRESS_BYTES) return false;
    }
    return sk_reader_done(&reader);
}

/* -- reading the rows ---------------------------------------------------------------------------------------------- */

typedef struct {
    sk_db *db;
    const sk_member_self *self;
    sk_members members; /* being made */
    sk_arena scratch;
} loading;

static int compare(const sk_member *a, sk_bytes region, const uint8_t *public_key)
{
    int order = sk_bytes_compare(sk_bytes_str(a->region), region);
    return order ? order : memcmp(a->public_key, public_key, SK_MEMBER_KEY);
}

/* Is what decides about `a` newer? The same answer everywhere. */
static bool is_newer(const sk_db *db, const sk_member *a, sk_hlc hlc, sk_dot dot)
{
    return sk_newer(&db->origins, a->hlc, a->dot, hlc, dot);
}

static void keep_addresses(sk_members *members, sk_member_addresses *addresses)
{
    for (uint32_t i = 0; i < addresses->count; i++)
        addresses->text[i] = sk_arena_copy(&members->arena, addresses->text[i]);
}

/* The place of that name and key, made if it is not there. NULL: there are too many. */
static sk_member *place(loading *load, sk_bytes region, const uint8_t *public_key)
{
    sk_members *members = &load->members;
    uint32_t at = 0;
    while (at < members->count && compare(&members->list[at], region, public_key) < 0) at++;
    if (at < members->count && compare(&members->list[at], region, public_key) == 0) return &members->list[at];
    if (members->count == SK_MEMBER_LIST_MAX) return NULL;
    members->list = sk_realloc(members->list, (members->count + 1) * sizeof *members->list);
    memmove(members->list + at + 1, members->list + at, (members->count - at) * sizeof *members->list);
    members->count++;
    sk_member *member = &members->list[at];
    *member = (sk_member){0};
    memcpy(member->region, region.data, region.len);
    memcpy(member->public_key, public_key, SK_MEMBER_KEY);
    member->is_own = strcmp(member->region, load->self->region) == 0 &&
                     memcmp(public_key, load->self->public_key, SK_MEMBER_KEY) == 0;
    return member;
}

/* What one sibling says, beside what the others have said. */
static void take_sibling(loading *load, sk_member *member, const sk_sibling *sibling)
{
    sk_member_record record;
    if (sibling->is_sum || !sk_member_read(sibling->value, &record)) return;
    uint64_t forgets = record.forgets > member->record.forgets ? record.forgets : member->record.forgets;
    bool decides = !member->has_row || record.state > member->record.state;
    if (member->has_row && record.state == member->record.state)
        decides = !is_newer(load->db, member, sibling->hlc, sibling->dot);
    if (decides) {
        sk_member_addresses configured = member->record.addresses;
        member->has_row = true;
        member->record = record;
        if (record.addresses.count == 0)
            member->record.addresses = configured;
        else
            keep_addresses(&load->members, &member->record.addresses);
        member->hlc = sibling->hlc;
        member->dot = sibling->dot;
    }
    member->record.forgets = forgets;
}

static int take_row(void *self, sk_bytes raw, const sk_row *row)
{
    loading *load = self;
    sk_rowkey key;
    sk_register read;
    sk_arena_reset(&load->scratch);
    int status = sk_rowkey_parse(raw, &load->scratch, &key);
    if (status) return status;
    if (sk_register_read(row, &load->db->origins, &load->scratch, &read)) return SK_E_MEMORY;
    bool says = false;
    sk_member_record record;
    for (uint32_t i = 0; i < read.count; i++)
        says |= !read.siblings[i].is_sum && sk_member_read(read.siblings[i].value, &record);
    sk_member *member = says ? place(load, key.key, key.member.data) : NULL;
    for (uint32_t i = 0; member && i < read.count; i++) take_sibling(load, member, &read.siblings[i]);
    return 0;
}

/* -- choosing ------------------------------------------------------------------------------------------------------ */

/* The configuration's addresses for a name whose row has none. */
static void lend_addresses(loading *load, sk_member *member)
{
    for (uint32_t i = 0; i < load->self->seed_count && member->record.addresses.count == 0; i++) {
        const sk_member_seed *seed = &load->self->seeds[i];
        if (strcmp(seed->region, member->region) != 0) continue;
        member->record.addresses = seed->addresses;
        keep_addresses(&load->members, &member->record.addresses);
    }
}

/* Who joins has only part of the rows, and goes by its configuration until it has all. */
static void choose_trusted(loading *load)
{
    const uint8_t *key = NULL;
    for (uint32_t i = 0; i < load->self->seed_count && load->self->trusted; i++)
        if (strcmp(load->self->seeds[i].region, load->self->trusted) == 0) key = load->self->seeds[i].public_key;
    for (uint32_t i = 0; i < load->members.count && key; i++) {
        sk_member *member = &load->members.list[i];
        if (strcmp(member->region, load->self->trusted) == 0)
            member->chosen = memcmp(member->public_key, key, SK_MEMBER_KEY) == 0;
    }
}

static void choose(loading *load, uint32_t most)
{
    sk_members *members = &load->members;
    sk_member *best = NULL;
    for (uint32_t i = 0; i < members->count; i++) {
        sk_member *member = &members->list[i];
        lend_addresses(load, member);
        members->forgotten += member->record.state == SK_MEMBER_FORGOTTEN && !member->is_own;
        if (best && strcmp(best->region, member->region) != 0) best = NULL;
        if (member->record.state != SK_MEMBER_IN || strcmp(member->region, load->self->region) == 0) continue;
        if (best && is_newer(load->db, best, member->hlc, member->dot)) continue;
        if (best) best->chosen = false;
        member->chosen = true;
        best = member;
    }
    for (;;) { /* of too many the newest go: those that are there stay, whatever somebody adds */
        sk_member *newest = NULL;
        uint32_t chosen = 0;
        for (uint32_t i = 0; i < members->count; i++) {
            sk_member *member = &members->list[i];
            chosen += member->chosen;
            if (member->chosen && (!newest || is_newer(load->db, member, newest->hlc, newest->dot))) newest = member;
        }
        if (chosen <= most) return;
        newest->chosen = false;
    }
}

int sk_members_load(sk_db *db, const sk_member_self *self, uint32_t most, sk_members *members)
{
    loading load = {.db = db, .self = self};
    uint8_t table = SK_TABLE_MEMBER;
    uint64_t read_batch = db->read_batch;
    for (uint32_t i = 0; i < self->seed_count; i++) {
        sk_member *member = place(&load, sk_bytes_str(self->seeds[i].region), self->seeds[i].public_key);
        if (!member) continue;
        member->record.addresses = self->seeds[i].addresses;
        keep_addresses(&load.members, &member->record.addresses);
    }
    int status = sk_db_each(db, sk_bytes_of(&table, 1), SK_BYTES_NONE, take_row, &load);
    db->read_batch = read_batch;
    sk_arena_free(&load.scratch);
    if (status) {
        sk_members_free(&load.members);
        return status;
    }
    choose(&load, most);
    choose_trusted(&load);
    sk_members_free(members);
    *members = load.members;
    return 0;
}

void sk_members_free(sk_members *members)
{
    free(members->list);
    sk_arena_free(&members->arena);
    *members = (sk_members){0};
}

/* -- asking -------------------------------------------------------------------------------------------------------- */

const sk_member *sk_members_find(const sk_members *members, sk_bytes region, const uint8_t public_key[SK_MEMBER_KEY])
{
    for (uint32_t i = 0; i < members->count; i++)
        if (compare(&members->list[i], region, public_key) == 0) return &members->list[i];
    return NULL;
}

const sk_member *sk_members_region(const sk_members *members, sk_bytes region)
{
    for (uint32_t i = 0; i < members->count; i++) {
        const sk_member *member = &members->list[i];
        if ((member->chosen || member->is_own) && sk_bytes_equal(sk_bytes_str(member->region), region)) return member;
    }
    return NULL;
}

const char *sk_member_by(const sk_db *db, const sk_member *member)
{
    return member->dot.seq ? db->origins.list[member->dot.origin].region : db->region;
}

int sk_members_judge(const sk_members *members, sk_bytes region, const uint8_t public_key[SK_MEMBER_KEY],
                     uint64_t wall_ms)
{
    const sk_member *member = sk_members_find(members, region, public_key);
    if (member && member->chosen) return SK_OK;
    if (member && member->record.state == SK_MEMBER_FORGOTTEN) return SK_E_FORGOTTEN;
    if (member && member->record.state == SK_MEMBER_IN) return SK_E_CLASH;
    if (member && sk_members_region(members, region)) return wall_ms < member->record.until_ms ? SK_OK : SK_E_REPLACED;
    for (uint32_t i = 0; i < members->count; i++)
        if (sk_bytes_equal(sk_bytes_str(members->list[i].region), region)) return SK_E_AUTH;
    return SK_E_CLUSTER;
}
