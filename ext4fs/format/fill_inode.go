package format

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/tree"
	"github.com/e4kit/e4kit/ext4fs/xattr"
)

// inodesPerTask is how many inodes one goroutine makes at a time.
const inodesPerTask = 4096

// writeInodes writes the inodes in use, and zeros behind the last of them as
// far as its block goes.
func (m *image) writeInodes(ctx context.Context) error {
	type task struct {
		g        disk.GroupNum
		first, n uint32 // index in the group's table
	}
	var tasks []task
	for g := disk.GroupNum(0); g < m.p.sb.Groups() && m.usedInodes(g) > 0; g++ {
		for first, n := uint32(0), m.usedInodes(g); first < n; first += inodesPerTask {
			tasks = append(tasks, task{g, first, min(n-first, inodesPerTask)})
		}
	}
	return m.share(ctx, len(tasks), func(g *gather, i int) error {
		t := tasks[i]
		per := m.p.sb.InodesPerBlock()
		number := disk.InodeNum(uint32(t.g)*m.p.sb.InodesPerGroup + t.first + 1)
		for k := uint32(0); k < t.n; k += per {
			block, err := g.zeroed(m.p.groups[t.g].inodeTable + disk.BlockNum((t.first+k)/per))
			if err != nil {
				return err
			}
			if err := m.inodeBlock(block, number+disk.InodeNum(k), min(t.n-k, per)); err != nil {
				return err
			}
		}
		return nil
	})
}

// inodeBlock makes n inodes from first on.
func (m *image) inodeBlock(block []byte, first disk.InodeNum, n uint32) error {
	size := m.p.sb.InodeSize()
	for i := range n {
		number := first + disk.InodeNum(i)
		record := disk.Inode(block[int(i)*size : int(i+1)*size : int(i+1)*size])
		used, err := m.makeInode(record, number)
		if err != nil {
			return err
		}
		if used && m.p.sb.HasMetadataCsum() {
			record.Seal(m.p.sb.Seed(), number)
		}
	}
	return nil
}

// makeInode makes record, which is zero, that inode. It stays zero for a
// reserved one without use.
func (m *image) makeInode(record disk.Inode, n disk.InodeNum) (bool, error) {
	if hidden, ok := m.hidden[n]; ok {
		copy(record, hidden)
		return true, nil
	}
	at := uint32(0)
	switch {
	case n == disk.RootInode:
	case n == m.p.sb.FirstInode:
		at = lostPlace
	case n < m.firstIno:
		return false, nil
	case n >= m.firstValue:
		m.makeValue(record, n)
		return true, nil
	default:
		at = uint32(n-m.firstIno) + 2
	}
	if err := m.makeFile(record, at); err != nil {
		return false, m.fileError(at, err)
	}
	return true, nil
}

// makeFile makes the inode of what is at a place.
func (m *image) makeFile(record disk.Inode, at uint32) error {
	n, set := m.node(at), m.attrs.of(at)
	record.SetExtraSize(int(m.p.sb.WantExtraIsize))
	record.SetMode(n.Mode)
	record.SetUID(n.UID)
	record.SetGID(n.GID)
	record.SetLinks(uint16(min(n.Links, maxLinks)))
	record.SetSize(n.Size)
	record.SetAtime(m.time(n.Atime))
	record.SetMtime(m.time(n.Mtime))
	record.SetCtime(m.time(n.Ctime))
	record.SetCrtime(m.o.Time)
	if set != nil {
		record.SetMode(set.mode)
		if len(set.body) > 0 {
			copy(record[disk.InodeBaseSize+record.ExtraSize():], set.body)
		}
		if int(at) < len(m.attrs.blockOf) && m.attrs.blockOf[at] != 0 {
			record.SetFileACL(m.attrBlocks[m.attrs.blockOf[at]-1], m.wide())
		}
	}
	var err error
	var room [1]span
	switch {
	case n.IsDir():
		err = m.makeDir(record, at)
	case n.IsRegular() && m.aux[at]&inlineBit != 0:
		err = m.makeInline(record, at, m.inlineContent(at))
	case n.IsRegular():
		m.makeMap(record, m.ref[at], m.spansOf(at, &room))
	case n.IsSymlink() && n.Size < fastSymlink:
		copy(record.Block(), m.t.Target(m.order[at]))
	case n.IsSymlink():
		m.makeMap(record, m.ref[at], []span{{0, 1}})
	case n.IsDevice():
		record.SetDevice(n.Major, n.Minor)
	}
	if err == nil && !record.SetSectors(m.sectors(at), m.hugeFile(), m.p.sb.BlockSize()) {
		err = errTooBig
	}
	return err
}

func (m *image) wide() bool     { return m.p.sb.Features.Incompat.Has(disk.Incompat64bit) }
func (m *image) hugeFile() bool { return m.p.sb.Features.ROCompat.Has(disk.ROCompatHugeFile) }

// time is a time of a file as the image has it.
func (m *image) time(t tree.Time) time.Time {
	at := t.Time()
	if m.o.Reproducible && at.After(m.o.Time) {
		return m.o.Time
	}
	return at
}

// makeDir completes the inode of a directory.
func (m *image) makeDir(record disk.Inode, at uint32) error {
	d := &m.content.dirs[m.aux[at]&^inlineBit]
	links := 2 + uint64(d.subdirs)
	if links > maxLinks {
		links = 1 // too many to count: dir_nlink
	}
	record.SetLinks(uint16(links))
	if m.aux[at]&inlineBit != 0 {
		entries := m.entries(at)
		b, err := m.newBuilder()
		if err != nil {
			return err
		}
		plan, err := m.planDir(b, at, entries)
		if err != nil {
			return err
		}
		head, value, err := plan.PutInline(m.self(d), m.child(entries), int(d.inline))
		if err != nil {
			return err
		}
		return m.makeInline(record, at, append(head[:], value...))
	}
	record.SetSize(int64(d.blocks) * int64(m.p.sb.BlockSize()))
	m.makeMap(record, m.ref[at], []span{{0, uint32(d.blocks)}})
	if d.indexed {
		record.SetFlags(record.Flags() | disk.FlagIndex)
	}
	return nil
}

// makeInline puts data into the inode itself, beside its attributes.
func (m *image) makeInline(record disk.Inode, at uint32, data []byte) error {
	record.SetFlags(disk.FlagInlineData)
	record.SetSize(int64(len(data)))
	copy(record.Block(), data)
	list := []xattr.Entry{inlineEntry(data[min(len(data), inlineBlock):])}
	if set := m.attrs.of(at); set != nil {
		list = append(list, set.entries...)
	}
	clear(record[disk.InodeBaseSize+record.ExtraSize():])
	block, err := m.attrs.lay(m.p.sb.Seed(), m.firstValue, record, list)
	if err == nil && block != nil {
		err = fmt.Errorf("%d bytes of inline data: %w", len(data), xattr.ErrNoSpace)
	}
	return err
}

// makeMap lets the inode find its blocks.
func (m *image) makeMap(record disk.Inode, ref uint64, spans []span) {
	root := record.Block()
	if m.extents() {
		record.SetFlags(disk.FlagExtents)
		disk.ExtentNode(root).Init(0)
	}
	switch {
	case ref&manyBit != 0:
		copy(root, m.maps[ref&^manyBit].root[:])
	case ref == 0:
	case !m.extents():
		for i := range spans[0].n {
			binary.LittleEndian.PutUint32(root[4*i:], uint32(ref)+i)
		}
	default:
		m.putExtents(root, ref, spans[0].n)
	}
}

// putExtents makes the root of a map that is one run of blocks.
func (m *image) putExtents(root disk.ExtentNode, start uint64, n uint32) {
	i := 0
	for done := uint32(0); done < n; i++ {
		l := disk.ExtentLeaf{Logical: disk.LogicalNum(done), Physical: disk.BlockNum(start) + disk.BlockNum(done), Len: min(n-done, disk.MaxExtentLen)}
		root.PutLeaf(i, l)
		done += l.Len
	}
	root.SetEntries(i)
}

// sectors is what i_blocks counts, in units of 512 bytes.
func (m *image) sectors(at uint32) uint64 {
	clusters := uint64(0)
	n := m.node(at)
	switch {
	case n.IsDir():
		clusters = m.clusters(uint64(m.content.dirs[m.aux[at]&^inlineBit].blocks))
	case n.IsRegular():
		var room [1]span
		for _, s := range m.spansOf(at, &room) {
			clusters += m.clusters(uint64(s.n))
		}
	case n.IsSymlink() && n.Size >= fastSymlink:
		clusters = 1
	}
	clusters += m.nodesOf(m.ref[at])
	if set := m.attrs.of(at); set != nil {
		clusters += set.charged
		if set.block {
			clusters++
		}
	}
	return clusters * uint64(m.p.sb.ClusterSize()) / 512
}

// makeValue makes the inode of an attribute's value.
func (m *image) makeValue(record disk.Inode, n disk.InodeNum) {
	v := &m.attrs.values[n-m.firstValue]
	spans := []span{{0, uint32(m.blocksOf(int64(v.size)))}}
	record.SetExtraSize(int(m.p.sb.WantExtraIsize))
	record.SetMode(disk.ModeRegular | 0o600)
	record.SetLinks(1)
	record.SetSize(int64(v.size))
	record.SetCrtime(m.o.Time)
	record.SetEARefs(v.refs)
	record.SetEAHash(v.hash)
	m.makeMap(record, m.values[n-m.firstValue], spans)
	record.SetFlags(record.Flags() | disk.FlagEAInode)
	clusters := m.clusters(uint64(spans[0].n)) + m.nodesOf(m.values[n-m.firstValue])
	record.SetSectors(clusters*uint64(m.p.sb.ClusterSize())/512, m.hugeFile(), m.p.sb.BlockSize())
}
