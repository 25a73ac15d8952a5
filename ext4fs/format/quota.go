package format

import (
	"slices"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// chooseQuota finds the kinds of quota files. The inode of the projects' is
// given out with the image.
func (b *builder) chooseQuota() {
	sb := &b.sb
	if !sb.Features.ROCompat.Has(disk.ROCompatQuota) {
		return
	}
	var on [disk.QuotaKinds]bool
	if b.o.Quota == nil {
		on[disk.QuotaUser], on[disk.QuotaGroup] = true, true
	}
	for _, k := range b.o.Quota {
		if k < disk.QuotaKinds {
			on[k] = true
		}
	}
	if sb.Features.ROCompat.Has(disk.ROCompatProject) {
		on[disk.QuotaProject] = true
	}
	for k, set := range on {
		if set {
			b.quotas = append(b.quotas, disk.QuotaKind(k))
		}
	}
	if on[disk.QuotaUser] {
		sb.UserQuotaInode = disk.UserQuotaInode
	}
	if on[disk.QuotaGroup] {
		sb.GroupQuotaInode = disk.GrpQuotaInode
	}
}

// tally is what one id has.
type tally struct {
	space  uint64 // bytes
	inodes uint64
}

// usage counts what users, groups and projects have, for the quota files. A nil
// usage counts nothing.
type usage struct {
	kinds []disk.QuotaKind
	ids   [disk.QuotaKinds]map[uint32]tally
}

// newUsage is nil for a file system without quota files.
func newUsage(p *plan) *usage {
	if len(p.quotas) == 0 {
		return nil
	}
	u := &usage{kinds: p.quotas}
	for _, k := range u.kinds {
		u.ids[k] = make(map[uint32]tally)
	}
	return u
}

// charge counts space, in bytes, and a number of inodes for the owners of an
// inode. The root directory counts, lost+found and all inodes after it do, but
// not hidden files. A charge of nothing makes an id known.
func (u *usage) charge(uid, gid, project uint32, space, inodes uint64) {
	if u == nil {
		return
	}
	ids := [disk.QuotaKinds]uint32{disk.QuotaUser: uid, disk.QuotaGroup: gid, disk.QuotaProject: project}
	for _, k := range u.kinds {
		t := u.ids[k][ids[k]]
		t.space += space
		t.inodes += inodes
		u.ids[k][ids[k]] = t
	}
}

// blocks is how many blocks of the file system's size the quota files take,
// without blocks of maps.
func (u *usage) blocks(blockSize int) uint64 {
	if u == nil {
		return 0
	}
	total := uint64(0)
	for _, k := range u.kinds {
		total += divUp(uint64(newQuotaShape(u.sorted(k)).blocks())*disk.QuotaBlockSize, uint64(blockSize))
	}
	return total
}

// sorted are the ids of a kind in ascending order.
func (u *usage) sorted(k disk.QuotaKind) []uint32 {
	ids := make([]uint32, 0, len(u.ids[k]))
	for id := range u.ids[k] {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// quotaShape is how many blocks a quota file has: a head, a tree of four
// levels, each node for 8 bits of the id, and blocks of entries.
type quotaShape struct {
	ids    []uint32
	levels [disk.QuotaDepth]int // nodes; the first is the root
	data   int
}

func newQuotaShape(ids []uint32) quotaShape {
	s := quotaShape{ids: ids, data: (len(ids) + disk.QuotaEntries - 1) / disk.QuotaEntries}
	s.levels[0] = 1
	for i, id := range ids {
		for d := 1; d < disk.QuotaDepth; d++ {
			shift := 8 * (disk.QuotaDepth - d)
			if i == 0 || id>>shift != ids[i-1]>>shift {
				s.levels[d]++
			}
		}
	}
	return s
}

// blocks is the number of quota blocks.
func (s quotaShape) blocks() int {
	n := disk.QuotaRootBlock + s.data
	for _, l := range s.levels {
		n += l
	}
	return n
}

// encode makes the content of a quota file: the head, each level of the tree,
// then the entries.
func (u *usage) encode(k disk.QuotaKind) []byte {
	s := newQuotaShape(u.sorted(k))
	out := make([]byte, s.blocks()*disk.QuotaBlockSize)
	block := func(n int) []byte { return out[n*disk.QuotaBlockSize : (n+1)*disk.QuotaBlockSize] }
	var next [disk.QuotaDepth]int // the last node used of each level, by block
	next[0] = disk.QuotaRootBlock
	for d := 1; d < disk.QuotaDepth; d++ {
		next[d] = next[d-1] + s.levels[d-1]
	}
	data := next[disk.QuotaDepth-1] + s.levels[disk.QuotaDepth-1]
	for d := 1; d < disk.QuotaDepth; d++ {
		next[d]--
	}
	for i, id := range s.ids {
		for d := 1; d < disk.QuotaDepth; d++ {
			shift := 8 * (disk.QuotaDepth - d)
			if i == 0 || id>>shift != s.ids[i-1]>>shift {
				next[d]++
				disk.QuotaTree(block(next[d-1])).SetRef(disk.QuotaIndex(id, d-1), uint32(next[d]))
			}
		}
		at := data + i/disk.QuotaEntries
		disk.QuotaTree(block(next[disk.QuotaDepth-1])).SetRef(disk.QuotaIndex(id, disk.QuotaDepth-1), uint32(at))
		q := disk.QuotaData(block(at))
		t := u.ids[k][id]
		disk.QuotaEntry{ID: id, Space: t.space, Inodes: t.inodes}.Encode(q.Entry(i % disk.QuotaEntries))
		q.SetUsed(i%disk.QuotaEntries + 1)
	}
	head := disk.QuotaInfo(block(0))
	head.Init(k)
	head.SetBlocks(uint32(s.blocks()))
	if len(s.ids)%disk.QuotaEntries != 0 {
		head.SetFreeEntry(uint32(data + s.data - 1))
	}
	return out
}
