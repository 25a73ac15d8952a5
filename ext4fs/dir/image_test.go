package dir_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/dir"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
	"github.com/e4kit/e4kit/ext4fs/indirect"
)

// image is just enough of a file system to reach its directories.
type image struct {
	t     testing.TB
	super disk.Superblock
	dev   device.Device
	cache *cache.Cache
}

func openImage(t testing.TB, path string) *image {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	im := &image{t: t, dev: device.NewReaderAt(f, info.Size())}
	b := make([]byte, disk.SuperblockSize)
	if _, err := im.dev.ReadAt(b, 1024); err != nil {
		t.Fatal(err)
	}
	if err := im.super.Decode(b); err != nil {
		t.Fatal(err)
	}
	im.cache = cache.New(im.dev, im.super.BlockSize(), im.super.Blocks(), cache.Options{})
	return im
}

func (im *image) inode(n disk.InodeNum) disk.Inode {
	im.t.Helper()
	s := &im.super
	g, index := s.InodeGroup(n)
	perBlock := s.DescsPerBlock()
	b, err := im.cache.Get(s.DescBlock(uint32(g) / perBlock))
	if err != nil {
		im.t.Fatal(err)
	}
	at := int(uint32(g)%perBlock) * s.DescSize()
	table := disk.GroupDesc(b.Data()[at : at+s.DescSize()]).InodeTable()
	if b, err = im.cache.Get(table + disk.BlockNum(index/s.InodesPerBlock())); err != nil {
		im.t.Fatal(err)
	}
	at = int(index%s.InodesPerBlock()) * s.InodeSize()
	return disk.Inode(b.Data()[at : at+s.InodeSize()])
}

// config describes the directory with inode n.
func (im *image) config(n disk.InodeNum) *dir.Config {
	im.t.Helper()
	s, raw := &im.super, im.inode(n)
	flag, f := raw.Flags(), s.Features
	c := &dir.Config{
		Inode:        n,
		Seed:         disk.InodeSeed(s.Seed(), n, raw.Generation()),
		BlockSize:    s.BlockSize(),
		Blocks:       disk.LogicalNum(raw.SizeLo() / uint32(s.BlockSize())),
		Indexed:      flag.Has(disk.FlagIndex) && f.Compat.Has(disk.CompatDirIndex),
		Casefold:     flag.Has(disk.FlagCasefold),
		Encrypted:    flag.Has(disk.FlagEncrypt),
		DirIndex:     f.Compat.Has(disk.CompatDirIndex),
		MetadataCsum: s.HasMetadataCsum(),
		Filetype:     f.Incompat.Has(disk.IncompatFiletype),
		LargeDir:     f.Incompat.Has(disk.IncompatLargeDir),
		HashSeed:     s.HashSeed,
		HashVersion:  disk.HashVersion(s.DefHashVersion),
		SignedHash:   s.Flags&disk.SuperFlagUnsignedHash == 0,
		Strict:       s.EncodingFlags&1 != 0,
		NoFallback:   s.EncodingFlags&2 != 0,
		Verify:       true,
		MaxInode:     s.Inodes(),
	}
	if flag.Has(disk.FlagInlineData) {
		c.InlineBlock, c.InlineValue = raw.Block(), systemData(raw)
		return c
	}
	o := extent.Owner{Inode: n, Seed: c.Seed, HasChecksum: c.MetadataCsum, Verify: c.MetadataCsum, FirstBlock: disk.BlockNum(s.FirstDataBlock)}
	open := indirect.New
	if flag.Has(disk.FlagExtents) {
		open = extent.New
	}
	m, err := open(im.cache, o, raw.Block())
	if err != nil {
		im.t.Fatal(err)
	}
	c.Read = func(l disk.LogicalNum) (*cache.Buffer, error) {
		e, err := m.Find(l)
		if err != nil || e.Flags&extent.FlagHole != 0 {
			return nil, err
		}
		return im.cache.Get(e.Physical + disk.BlockNum(l-e.Logical))
	}
	return c
}

// systemData is the value of system.data in an inode.
func systemData(raw disk.Inode) []byte {
	b := raw[128+raw.ExtraSize()+4:]
	for e := b; len(e) >= 16 && binary.LittleEndian.Uint32(e) != 0; e = e[(16+int(e[0])+3)&^3:] {
		if e[1] == 7 && string(e[16:16+e[0]]) == "data" {
			at, n := binary.LittleEndian.Uint16(e[2:]), binary.LittleEndian.Uint32(e[8:])
			return b[at : int(at)+int(n)]
		}
	}
	return nil
}

// find follows a path of names as they are shown.
func (im *image) find(p string) *dir.Config {
	im.t.Helper()
	c := im.config(disk.RootInode)
	for part := range strings.SplitSeq(strings.Trim(p, "/"), "/") {
		if part == "" {
			continue
		}
		e, err := c.Lookup([]byte(part))
		if err != nil {
			im.t.Fatalf("%s in %s: %v", part, p, err)
		}
		c = im.config(e.Inode)
	}
	return c
}

// walk visits all directories.
func (im *image) walk(visit func(p string, c *dir.Config, list []dir.Entry)) {
	im.t.Helper()
	var each func(p string, c *dir.Config, depth int)
	each = func(p string, c *dir.Config, depth int) {
		var list []dir.Entry
		for e, err := range c.Entries() {
			if err != nil {
				im.t.Fatalf("%s: %q: %v", p, e.Name, err)
			}
			list = append(list, e)
		}
		visit(p, c, list)
		for _, e := range list {
			if s := string(e.Name); s != "." && s != ".." && im.isDir(e.Inode) && depth < 100 {
				each(path.Join(p, c.DisplayName(e)), im.config(e.Inode), depth+1)
			}
		}
	}
	each("/", im.config(disk.RootInode), 0)
}

func (im *image) isDir(n disk.InodeNum) bool { return im.inode(n).Mode()&0xf000 == 0x4000 }

// escape writes a path as a manifest does.
func escape(p string) string {
	var b strings.Builder
	for i := range len(p) {
		if c := p[i]; c < 0x22 || c > 0x7e || c == '\\' {
			fmt.Fprintf(&b, `\x%02x`, c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
