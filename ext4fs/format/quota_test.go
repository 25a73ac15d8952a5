package format

import (
	"math/rand/v2"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// readQuota finds an id in a quota file as readers do.
func readQuota(b []byte, id uint32) (e disk.QuotaEntry, ok bool) {
	block := func(n uint32) []byte { return b[n*disk.QuotaBlockSize:][:disk.QuotaBlockSize] }
	at := uint32(disk.QuotaRootBlock)
	for d := range disk.QuotaDepth {
		if at = disk.QuotaTree(block(at)).Ref(disk.QuotaIndex(id, d)); at == 0 {
			return e, false
		}
	}
	q := disk.QuotaData(block(at))
	for n := range q.Used() {
		if e = disk.DecodeQuotaEntry(q.Entry(n)); e.ID == id {
			return e, true
		}
	}
	return e, false
}

func TestUsage_encode(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 13, 14, 15, 300, 5000} {
		u := newUsage(&plan{quotas: []disk.QuotaKind{disk.QuotaGroup}})
		want := map[uint32]tally{}
		for range n {
			id := rng.Uint32() >> (8 * rng.IntN(4))
			space := uint64(rng.Int64N(1 << 40))
			u.charge(1, id, 2, space, 1)
			want[id] = tally{want[id].space + space, want[id].inodes + 1}
		}
		b := u.encode(disk.QuotaGroup)
		if got := u.blocks(disk.QuotaBlockSize); got*disk.QuotaBlockSize != uint64(len(b)) {
			t.Errorf("%d blocks were told, %d bytes made", got, len(b))
		}
		for id, w := range want {
			e, ok := readQuota(b, id)
			if !ok || e.Space != w.space || e.Inodes != w.inodes {
				t.Fatalf("id %d: %+v, %v; want %+v", id, e, ok, w)
			}
		}
		if _, ok := readQuota(b, 0xdeadbeef); ok {
			t.Error("found what is not there")
		}
		head := disk.QuotaInfo(b)
		if head.Magic() != disk.QuotaGroup.Magic() || int(head.Blocks())*disk.QuotaBlockSize != len(b) {
			t.Errorf("head %x %d", head.Magic(), head.Blocks())
		}
		free := head.FreeEntry()
		if full := len(want)%disk.QuotaEntries == 0; full != (free == 0) {
			t.Errorf("%d ids, free entries in block %d", len(want), free)
		}
	}
	var none *usage
	none.charge(0, 0, 0, 1, 1)
	if none.blocks(4096) != 0 {
		t.Error("a file without quota")
	}
}
