package dir

import (
	"cmp"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

var le = binary.LittleEndian

// name is one entry of a directory that a test makes. Its hash is that of the
// name unless set.
type name struct {
	inode disk.InodeNum
	text  string
	hash  uint32
	minor uint32
}

func names(list ...string) (out []name) {
	for i, s := range list {
		out = append(out, name{inode: disk.InodeNum(100 + i), text: s})
	}
	return out
}

// directory is a directory in memory: its blocks are those of the "device".
type directory struct {
	Config
	blocks [][]byte
	holes  map[disk.LogicalNum]bool
	reads  int
}

// newDirectory is an empty Config with the usual settings.
func newDirectory(size int) *directory {
	d := &directory{holes: map[disk.LogicalNum]bool{}}
	d.Config = Config{Inode: 77, Seed: 0x1234567, BlockSize: size, Filetype: true, MetadataCsum: true, Verify: true,
		HashVersion: disk.HashHalfMD4, SignedHash: true, HashSeed: [4]uint32{1, 2, 3, 4}}
	return d
}

// open makes Read out of the blocks as they are now.
func (d *directory) open() *Config {
	all := slices.Concat(d.blocks...)
	c := cache.New(device.NewMemory(all), d.BlockSize, uint64(len(d.blocks)), cache.Options{})
	d.Blocks = disk.LogicalNum(len(d.blocks))
	d.Read = func(l disk.LogicalNum) (*cache.Buffer, error) {
		d.reads++
		if d.holes[l] {
			return nil, nil
		}
		return c.Get(disk.BlockNum(l))
	}
	return &d.Config
}

func (d *directory) end() int {
	if d.MetadataCsum {
		return d.BlockSize - disk.DirTailSize
	}
	return d.BlockSize
}

func (d *directory) inDirent() bool { return d.Casefold && d.Encrypted }

// put writes a record at off and returns what is behind it.
func (d *directory) put(b []byte, off, size int, n name) int {
	le.PutUint32(b[off:], uint32(n.inode))
	le.PutUint16(b[off+4:], disk.DirRecLenRaw(size, d.BlockSize))
	b[off+6] = byte(len(n.text))
	if d.Filetype {
		b[off+7] = disk.FileTypeRegular
		if isDots([]byte(n.text)) {
			b[off+7] = disk.FileTypeDir
		}
	}
	copy(b[off+8:], n.text)
	if d.inDirent() && !isDots([]byte(n.text)) && n.inode != 0 {
		at := off + disk.DirentSize(len(n.text), false)
		le.PutUint32(b[at:], n.hash)
		le.PutUint32(b[at+4:], n.minor)
	}
	return off + size
}

func (d *directory) need(n name) int {
	return max(disk.DirentMinSize, disk.DirentSize(len(n.text), d.inDirent() && !isDots([]byte(n.text))))
}

// leaf makes a sealed leaf of the names, the last record reaching to the end.
func (d *directory) leaf(list ...name) []byte {
	b := make([]byte, d.BlockSize)
	off := 0
	for i, n := range list {
		size := d.need(n)
		if i == len(list)-1 {
			size = d.end() - off
		}
		off = d.put(b, off, size, n)
	}
	if len(list) == 0 {
		d.put(b, 0, d.end(), name{})
	}
	if d.MetadataCsum {
		disk.InitDirTail(b)
		disk.SealDirBlock(d.Seed, b)
	}
	return b
}

// linear fills the directory with leaves of at most perLeaf names.
func (d *directory) linear(list []name, perLeaf int) *directory {
	list = append([]name{{inode: d.Inode, text: "."}, {inode: 2, text: ".."}}, list...)
	for len(list) > 0 {
		n := min(perLeaf, len(list))
		d.blocks = append(d.blocks, d.leaf(list[:n]...))
		list = list[n:]
	}
	return d
}

type key struct {
	hash  uint32
	block disk.LogicalNum
}

// array writes an index array and its checksum.
func (d *directory) array(b []byte, off int, keys []key) {
	for i, k := range keys {
		le.PutUint32(b[off+8*i:], k.hash)
		le.PutUint32(b[off+8*i+4:], uint32(k.block))
	}
	le.PutUint16(b[off:], uint16(d.layout().DXLimit(off)))
	le.PutUint16(b[off+2:], uint16(len(keys)))
	if d.MetadataCsum {
		disk.SealDX(d.Seed, b, off)
	}
}

func (d *directory) root(levels int, keys []key) []byte {
	b := make([]byte, d.BlockSize)
	d.put(b, 0, 12, name{inode: d.Inode, text: "."})
	d.put(b, 12, d.BlockSize-12, name{inode: 2, text: ".."})
	v := d.HashVersion
	if d.inDirent() {
		v = disk.HashSipHash
	}
	disk.DXInfo{Hash: v, InfoLength: disk.DXInfoSize, Levels: uint8(levels)}.Encode(b)
	d.array(b, 32, keys)
	return b
}

func (d *directory) node(keys []key) []byte {
	b := make([]byte, d.BlockSize)
	d.put(b, 0, d.BlockSize, name{})
	b[7] = 0
	d.array(b, 8, keys)
	return b
}

func (d *directory) hashOf(n name) (hash, minor uint32) {
	if n.hash != 0 || d.inDirent() {
		return n.hash, n.minor
	}
	return d.hashName(d.HashVersion, []byte(n.text))
}

// tree fills the directory with a hash tree of the given number of node
// levels: leaves of perLeaf names, nodes of perNode keys.
func (d *directory) tree(list []name, levels, perLeaf, perNode int) *directory {
	d.Indexed, d.DirIndex = true, true
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b name) int {
		ha, ma := d.hashOf(a)
		hb, mb := d.hashOf(b)
		return cmp.Or(cmp.Compare(ha, hb), cmp.Compare(ma, mb))
	})
	d.blocks = [][]byte{nil}
	var keys []key
	last := uint32(1)
	for len(list) > 0 {
		n := min(perLeaf, len(list))
		h, _ := d.hashOf(list[0])
		k := key{h, disk.LogicalNum(len(d.blocks))}
		if h == last {
			k.hash |= 1
		}
		last, _ = d.hashOf(list[n-1])
		keys = append(keys, k)
		d.blocks = append(d.blocks, d.leaf(list[:n]...))
		list = list[n:]
	}
	for range levels {
		var up []key
		for len(keys) > 0 {
			n := min(perNode, len(keys))
			up = append(up, key{keys[0].hash, disk.LogicalNum(len(d.blocks))})
			d.blocks = append(d.blocks, d.node(keys[:n]))
			keys = keys[n:]
		}
		keys = up
	}
	if len(keys) > d.layout().DXLimit(32) {
		panic("the root is full")
	}
	d.blocks[0] = d.root(levels, keys)
	return d
}

// all collects what an iterator gives, and fails on errors.
func all(t testing.TB, seq func(func(Entry, error) bool)) (list []Entry) {
	t.Helper()
	for e, err := range seq {
		if err != nil {
			t.Fatalf("%q: %v", e.Name, err)
		}
		list = append(list, e)
	}
	return list
}

func texts(list []Entry) (out []string) {
	for _, e := range list {
		out = append(out, string(e.Name))
	}
	return out
}

// resumed lists the directory by calling From again after every n entries.
func resumed(t testing.TB, c *Config, n int) (list []Entry) {
	t.Helper()
	cookie := uint64(0)
	for {
		more := false
		i := 0
		for e, err := range c.From(cookie) {
			if err != nil {
				t.Fatalf("%q: %v", e.Name, err)
			}
			if e.Cookie <= cookie {
				t.Fatalf("%q: cookie %#x after %#x", e.Name, e.Cookie, cookie)
			}
			list = append(list, e)
			cookie, more = e.Cookie, true
			if i++; i == n {
				break
			}
		}
		if !more {
			return list
		}
	}
}
