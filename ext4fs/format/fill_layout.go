package format

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
	"github.com/e4kit/e4kit/ext4fs/indirect"
)

// layout is where the content of an image lies.
//
// What the walk comes to first has the lower blocks, but that directories,
// long symbolic links, attributes and value inodes come before all data: a
// reader of the tree finds them in one run, and they are written in one.
type layout struct {
	// ref is, by place, the first block of what lies in one run of no more
	// than an inode's map tells, or manyBit and a number in maps; 0 for
	// nothing.
	ref  []uint64
	maps []blockMap

	attrBlocks []disk.BlockNum // by number in attrs.blocks
	values     []uint64        // like ref, by number in attrs.values
	have       uint64          // clusters for the content
	firstIno   disk.InodeNum   // the inode of place 2
	firstValue disk.InodeNum   // the first value inode
	groupDirs  []uint32        // directories, by group
	pieces     []piece
	inlineBuf  []byte // the content of files in their inodes
}

const manyBit = 1 << 63

// blockMap is where a file's blocks are, and those of its map.
type blockMap struct {
	owner disk.InodeNum
	runs  []extent.Extent
	nodes []disk.BlockNum
	root  [disk.ExtentRootSize]byte // i_block; not before writeMaps
}

// piece is a run of a regular file's data.
type piece struct {
	block   disk.BlockNum
	place   uint32
	logical disk.LogicalNum
	n       uint32
}

// layOut gives everything in the content an inode and blocks. It takes nothing
// from the space when that is too small: *SizeError.
func (m *image) layOut(ctx context.Context) error {
	if err := m.number(); err != nil {
		return err
	}
	m.have = m.s.left
	if need := m.demand.meta + m.demand.data; need > m.have {
		return m.tooSmall(need - m.have)
	}
	m.ref = make([]uint64, len(m.order))
	m.pieces = make([]piece, 0, m.files)
	if err := m.placeMeta(); err != nil {
		return err
	}
	for at := range m.order {
		if at%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if n := m.node(uint32(at)); !n.IsRegular() || n.Size == 0 {
			continue
		}
		if err := m.placeFile(uint32(at)); err != nil {
			return err
		}
	}
	slices.SortFunc(m.pieces, func(a, b piece) int { return cmp.Compare(a.block, b.block) })
	m.chargeOwners()
	return nil
}

// knowOwners tells the quota files who there is.
func (m *image) knowOwners() {
	for _, o := range m.owners {
		m.usage.charge(o.uid, o.gid, 0, 0, 0)
	}
}

// chargeOwners tells the quota files what everybody has. Values in inodes of
// their own are charged to each file that has them.
func (m *image) chargeOwners() {
	if m.usage == nil {
		return
	}
	for at := range m.order {
		n, inodes := m.node(uint32(at)), uint64(1)
		if set := m.attrs.of(uint32(at)); set != nil {
			inodes += uint64(len(set.inBody) + len(set.inBlock))
		}
		m.usage.charge(n.UID, n.GID, 0, m.sectors(uint32(at))*512, inodes)
	}
}

// number gives out the inodes.
func (m *image) number() error {
	m.firstIno = m.next
	m.firstValue = m.firstIno + disk.InodeNum(len(m.order)-2)
	need := uint64(m.firstValue) - 1 + uint64(len(m.attrs.values))
	if need > uint64(m.p.sb.InodesCount) {
		return &SizeError{What: "inodes", Need: need, Have: uint64(m.p.sb.InodesCount)}
	}
	m.next = disk.InodeNum(need + 1)
	m.groupDirs = nil
	for i := range m.content.dirs {
		g, _ := m.p.sb.InodeGroup(m.inode(m.content.dirs[i].place))
		for int(g) >= len(m.groupDirs) {
			m.groupDirs = append(m.groupDirs, 0)
		}
		m.groupDirs[g]++
	}
	return nil
}

// inode is the inode of what is at a place.
func (m *image) inode(at uint32) disk.InodeNum {
	switch at {
	case 0:
		return disk.RootInode
	case lostPlace:
		return m.p.sb.FirstInode
	}
	return m.firstIno + disk.InodeNum(at-2)
}

// placeMeta gives blocks to all that is written after the data.
func (m *image) placeMeta() error {
	for i := range m.content.dirs {
		d := &m.content.dirs[i]
		ref, err := m.placeBlocks(m.inode(d.place), []span{{0, uint32(d.blocks)}})
		if err != nil {
			return m.fileError(d.place, err)
		}
		m.ref[d.place] = ref
	}
	for at := range m.order {
		if n := m.node(uint32(at)); !n.IsSymlink() || n.Size < fastSymlink {
			continue
		}
		ref, err := m.placeBlocks(m.inode(uint32(at)), []span{{0, 1}})
		if err != nil {
			return m.fileError(uint32(at), err)
		}
		m.ref[at] = ref
	}
	m.attrBlocks = make([]disk.BlockNum, len(m.attrs.blocks))
	for i := range m.attrBlocks {
		r, ok := m.s.takeWhole(1)
		if !ok {
			return m.tooSmall(1)
		}
		m.attrBlocks[i] = r.start
	}
	m.values = make([]uint64, len(m.attrs.values))
	for i := range m.values {
		ref, err := m.placeBlocks(m.firstValue+disk.InodeNum(i), []span{{0, uint32(m.blocksOf(int64(m.attrs.values[i].size)))}})
		if err != nil {
			return err
		}
		m.values[i] = ref
	}
	return nil
}

func (m *image) fileError(at uint32, err error) error {
	if _, ok := err.(*SizeError); ok {
		return err
	}
	return &FileError{Path: m.path(at), Err: err}
}

// placeFile gives blocks to a regular file, and notes its data as pieces.
func (m *image) placeFile(at uint32) error {
	var room [1]span
	spans := m.spansOf(at, &room)
	if len(spans) == 0 {
		return nil
	}
	ref, err := m.placeBlocks(m.inode(at), spans)
	if err != nil {
		return m.fileError(at, err)
	}
	m.ref[at] = ref
	if ref&manyBit == 0 {
		m.pieces = append(m.pieces, piece{block: disk.BlockNum(ref), place: at, n: spans[0].n})
		return nil
	}
	for _, e := range m.runsOf(ref, spans) {
		m.pieces = append(m.pieces, piece{block: e.Physical, place: at, logical: e.Logical, n: e.Len})
	}
	return nil
}

// placeBlocks takes room for the blocks of a file, and for its map.
func (m *image) placeBlocks(owner disk.InodeNum, spans []span) (uint64, error) {
	total := uint64(0)
	for _, s := range spans {
		total += uint64(s.n)
	}
	if total == 0 {
		return 0, nil
	}
	if total > math.MaxUint32 {
		return 0, fmt.Errorf("%d blocks: %w", total, errTooBig)
	}
	if !m.extents() {
		return m.placeIndirect(owner, spans, uint32(total))
	}
	if len(spans) == 1 && spans[0].first == 0 && total <= disk.ExtentRootMax*disk.MaxExtentLen {
		if r, ok := m.s.takeWhole(uint32(total)); ok {
			return uint64(r.start), nil
		}
	}
	runs := m.s.take(uint32(total))
	if runs == nil {
		return 0, m.tooSmall(m.s.clusters(uint32(total)) - m.s.left)
	}
	b := blockMap{owner: owner, runs: mapRuns(spans, runs)}
	n, err := extent.Pieces(b.runs)
	if err != nil {
		return 0, err
	}
	if n, err = extent.TreeBlocks(n, m.p.sb.BlockSize()); err != nil {
		return 0, err
	}
	for range n {
		r, ok := m.s.takeWhole(1)
		if !ok {
			return 0, m.tooSmall(1)
		}
		b.nodes = append(b.nodes, r.start)
	}
	return m.addMap(b), nil
}

func (m *image) addMap(b blockMap) uint64 {
	m.maps = append(m.maps, b)
	return manyBit | uint64(len(m.maps)-1)
}

// placeIndirect takes room for a file with pointer blocks, which come before
// the data, so that this stays in one piece.
func (m *image) placeIndirect(owner disk.InodeNum, spans []span, total uint32) (uint64, error) {
	n, err := indirect.MapBlocks(mapRuns(spans, []run{{disk.BlockNum(m.p.sb.FirstDataBlock) + 1, total}}), m.p.sb.BlockSize())
	if err != nil {
		return 0, err
	}
	runs := m.s.take(total + uint32(n))
	if runs == nil {
		return 0, m.tooSmall(uint64(total) + uint64(n) - m.s.left)
	}
	if last := runs[len(runs)-1]; uint64(last.start)+uint64(last.n) > 1<<32 {
		return 0, fmt.Errorf("pointers to block %d: %w", uint64(last.start)+uint64(last.n)-1, errTooBig)
	}
	if n == 0 && len(runs) == 1 && len(spans) == 1 && spans[0].first == 0 {
		return uint64(runs[0].start), nil
	}
	b := blockMap{owner: owner}
	for len(b.nodes) < n {
		b.nodes = append(b.nodes, runs[0].start)
		runs[0].start++
		if runs[0].n--; runs[0].n == 0 {
			runs = runs[1:]
		}
	}
	b.runs = mapRuns(spans, runs)
	return m.addMap(b), nil
}

// mapRuns lets spans of a file lie in runs of blocks, one after the other. With
// bigalloc both come in whole clusters, but for the last of each.
func mapRuns(spans []span, runs []run) []extent.Extent {
	list := make([]extent.Extent, 0, len(spans)+len(runs)-1)
	i, used := 0, uint32(0)
	for _, s := range spans {
		for s.n > 0 {
			n := min(s.n, runs[i].n-used)
			list = append(list, extent.Extent{Logical: s.first, Physical: runs[i].start + disk.BlockNum(used), Len: n})
			s.first, s.n = s.first+disk.LogicalNum(n), s.n-n
			if used += n; used == runs[i].n {
				i, used = i+1, 0
			}
		}
	}
	return list
}

// runsOf is where the blocks are that ref leads to.
func (m *image) runsOf(ref uint64, spans []span) []extent.Extent {
	switch {
	case ref == 0:
		return nil
	case ref&manyBit != 0:
		return m.maps[ref&^manyBit].runs
	}
	return []extent.Extent{{Physical: disk.BlockNum(ref), Len: spans[0].n}}
}

// nodesOf is the number of blocks of the map that ref leads to.
func (m *image) nodesOf(ref uint64) uint64 {
	if ref&manyBit == 0 {
		return 0
	}
	return uint64(len(m.maps[ref&^manyBit].nodes))
}
