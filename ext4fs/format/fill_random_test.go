package format

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/tree"
	"github.com/e4kit/e4kit/testimages"
)

// pieces is a file of random bytes with holes.
type pieces struct {
	size  int64
	seed  uint64
	spans []tree.Span // nil: no holes
}

func (p *pieces) Spans() ([]tree.Span, error)   { return p.spans, nil }
func (p *pieces) Open() (tree.File, error)      { return p, nil }
func (p *pieces) Close() error                  { return nil }
func (p *pieces) Host() (*os.File, int64, bool) { return nil, 0, false }
func (p *pieces) data(off int64) bool {
	for _, s := range p.spans {
		if off >= s.Off && off < s.Off+s.Len {
			return true
		}
	}
	return p.spans == nil
}

func (p *pieces) ReadAt(b []byte, off int64) (int, error) {
	n := 0
	for ; n < len(b) && off+int64(n) < p.size; n++ {
		b[n] = 0
		if at := off + int64(n); p.data(at) {
			b[n] = byte((uint64(at)*0x9e3779b97f4a7c15+p.seed)>>40) | 1
		}
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// randomTree makes trees with everything in them that inodes of 128 bytes and
// pointer blocks can hold, and more with rich.
type randomTree struct {
	*rand.Rand
	t     *tree.Tree
	rich  bool
	large int64 // the longest file
	dirs  []tree.ID
	files []tree.ID
	sets  [][]tree.Xattr
}

func newRandomTree(seed uint64, nodes int, rich bool) *tree.Tree {
	r := &randomTree{Rand: rand.New(rand.NewPCG(seed, 7)), t: tree.New(), rich: rich, large: 60_000}
	r.dirs = []tree.ID{tree.Root}
	for range 5 {
		r.sets = append(r.sets, r.set())
	}
	r.t.Node(tree.Root).Mtime = r.time()
	if seed%2 == 1 {
		r.dirs = append(r.dirs, r.must(r.t.Add(tree.Root, lostFound, tree.Node{Mode: disk.ModeDir | 0o711, UID: 3})))
	}
	for i := range nodes {
		r.add(i)
	}
	return r.t
}

func (r *randomTree) time() tree.Time {
	return tree.UnixTime(r.Int64N(1<<31), r.Int64N(1e9))
}

func (r *randomTree) name(i int) string {
	return fmt.Sprintf("%d%s", i, strings.Repeat(string(rune('a'+r.IntN(26))), r.IntN(1+r.IntN(60))))
}

func (r *randomTree) set() (list []tree.Xattr) {
	for i := range 1 + r.IntN(4) {
		n := r.IntN(1 + r.IntN(150))
		list = append(list, tree.Xattr{Name: fmt.Sprintf("security.x%d", i), Value: bytes.Repeat([]byte{byte(r.IntN(256))}, n)})
	}
	return list
}

func (r *randomTree) must(id tree.ID, err error) tree.ID {
	if err != nil {
		panic(err)
	}
	return id
}

func (r *randomTree) add(i int) {
	dir := r.dirs[len(r.dirs)-1]
	if r.IntN(4) > 0 {
		dir = r.dirs[r.IntN(len(r.dirs))]
	}
	n := tree.Node{
		Mode: uint16(r.IntN(1 << 12)), UID: uint32(r.IntN(3)) * 1000, GID: r.Uint32N(70000),
		Atime: r.time(), Mtime: r.time(), Ctime: r.time(),
	}
	kind := r.IntN(20)
	if kind == 0 && len(r.files) > 0 {
		if err := r.t.Link(dir, r.name(i), r.files[r.IntN(len(r.files))]); err != nil {
			panic(err)
		}
		return
	}
	switch {
	case kind < 4:
		n.Mode |= disk.ModeDir
		id := r.must(r.t.Add(dir, r.name(i), n))
		r.dirs = append(r.dirs, id)
		r.attrs(id)
		return
	case kind < 6:
		n.Mode |= disk.ModeSymlink
		id := r.must(r.t.Add(dir, r.name(i), n))
		if err := r.t.SetTarget(id, strings.Repeat("t", 1+r.IntN(1+r.IntN(1000)))); err != nil {
			panic(err)
		}
	case kind < 8:
		n.Mode |= []uint16{disk.ModeChar, disk.ModeBlock, disk.ModeFIFO, disk.ModeSocket}[r.IntN(4)]
		n.Major, n.Minor = r.Uint32N(1<<r.IntN(13)), r.Uint32N(1<<r.IntN(21))
		r.must(r.t.Add(dir, r.name(i), n))
	default:
		n.Mode |= disk.ModeRegular
		p := r.content()
		n.Size = p.size
		id := r.must(r.t.Add(dir, r.name(i), n))
		if err := r.t.SetContent(id, p); err != nil {
			panic(err)
		}
		r.files = append(r.files, id)
		r.attrs(id)
	}
}

func (r *randomTree) content() *pieces {
	p := &pieces{seed: r.Uint64()}
	switch r.IntN(4) {
	case 0:
		p.size = r.Int64N(200)
	case 1, 2:
		p.size = r.Int64N(1 + r.Int64N(r.large))
	default:
		p.spans = []tree.Span{}
		for range r.IntN(12) {
			s := tree.Span{Off: p.size + r.Int64N(1+r.Int64N(200_000)), Len: 1 + r.Int64N(1+r.Int64N(20_000))}
			p.spans = append(p.spans, s)
			p.size = s.Off + s.Len
		}
		if r.IntN(2) == 0 {
			p.size += r.Int64N(1 << 24)
		}
	}
	return p
}

// attrs gives some files attributes, often the same.
func (r *randomTree) attrs(id tree.ID) {
	var list []tree.Xattr
	if r.IntN(3) == 0 {
		list = append(list, r.sets[r.IntN(len(r.sets))]...)
	}
	if r.rich && r.IntN(8) == 0 {
		list = append(list, tree.Xattr{Name: "user.own", Value: bytes.Repeat([]byte{byte(r.IntN(4))}, r.IntN(700))})
	}
	if r.IntN(8) == 0 {
		acl := disk.EncodeCallACL([]disk.ACLEntry{
			{Tag: disk.ACLUserObj, Perm: 7}, {Tag: disk.ACLUser, Perm: 5, ID: 7}, {Tag: disk.ACLGroupObj, Perm: 5},
			{Tag: disk.ACLMask, Perm: 5}, {Tag: disk.ACLOther, Perm: 1},
		})
		n := r.t.Node(id)
		n.Mode = n.Mode&^0o777 | 0o751
		list = append(list, tree.Xattr{Name: "system.posix_acl_access", Value: acl})
		if n.IsDir() {
			list = append(list, tree.Xattr{Name: "system.posix_acl_default", Value: acl})
		}
	}
	r.t.SetXattrs(id, list)
}

// writeImage makes an image in a new file.
func writeImage(t *testing.T, o Options, tr *tree.Tree) (string, *Job) {
	t.Helper()
	return writeOver(t, o, tr, 0)
}

// writeOver makes an image in a file that is full of a byte.
func writeOver(t *testing.T, o Options, tr *tree.Tree, old byte) (string, *Job) {
	t.Helper()
	j, err := Plan(t.Context(), o, tr)
	if err != nil {
		t.Fatal(err)
	}
	img := filepath.Join(testimages.Scratch(t), "image")
	f, err := os.Create(img)
	if err != nil {
		t.Fatal(err)
	}
	for off := int64(0); old != 0 && err == nil && off < j.Size(); off += 1 << 20 {
		_, err = f.WriteAt(bytes.Repeat([]byte{old}, 1<<20), off)
	}
	if err := errors.Join(err, f.Truncate(j.Size()), f.Close()); err != nil {
		t.Fatal(err)
	}
	w, err := device.Open(img, device.Options{Write: true, NoContainers: true, Partition: "@0"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = j.Write(t.Context(), w)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return img, j
}

// judge is a comparison of an image with its tree.
type judge struct {
	*testing.T
	tr     *tree.Tree
	fsys   *ext4fs.FS
	small  bool // inodes of 128 bytes
	inodes map[tree.ID]disk.InodeNum
	last   disk.InodeNum
}

// sameAsTree reads an image with e4kit's reader.
func sameAsTree(t *testing.T, img string, tr *tree.Tree) {
	t.Helper()
	fsys, err := ext4fs.OpenFile(img, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer fsys.Close()
	root, err := fsys.Root()
	if err != nil {
		t.Fatal(err)
	}
	g := &judge{T: t, tr: tr, fsys: fsys, small: fsys.Super().InodeSize() == 128, inodes: map[tree.ID]disk.InodeNum{}}
	g.dir(tree.Root, root)
}

func (g *judge) dir(id tree.ID, i *ext4fs.Inode) {
	g.Helper()
	g.node(id, i)
	n := 0
	for e, err := range i.EntriesFrom(0) {
		if err != nil {
			g.Fatalf("%s: %v", g.tr.Path(id), err)
		}
		name := string(e.Name)
		if name == "." || name == ".." {
			continue
		}
		n++
		child, ok := g.tr.Lookup(id, name)
		if !ok {
			if id != tree.Root || name != lostFound {
				g.Fatalf("%s has %q", g.tr.Path(id), name)
			}
			n--
			continue
		}
		got, err := i.Child(name)
		if err != nil {
			g.Fatalf("%s in %s: %v", name, g.tr.Path(id), err)
		}
		if was, ok := g.inodes[child]; ok {
			if was != got.Number() {
				g.Fatalf("%s is inode %d and %d", g.tr.Path(child), was, got.Number())
			}
			continue
		}
		g.inodes[child] = got.Number()
		if indexed := g.fsys.Super().Features.Compat.Has(disk.CompatDirIndex); indexed && name != lostFound && got.Number() <= g.last {
			g.Errorf("%s is inode %d, the walk was at %d", g.tr.Path(child), got.Number(), g.last)
		}
		g.last = max(g.last, got.Number())
		if got.IsDir() {
			g.dir(child, got)
		} else {
			g.node(child, got)
		}
	}
	if n != g.tr.Count(id) {
		g.Errorf("%s has %d names, want %d", g.tr.Path(id), n, g.tr.Count(id))
	}
}

func (g *judge) node(id tree.ID, i *ext4fs.Inode) {
	g.Helper()
	n, raw, path := g.tr.Node(id), i.Raw(), g.tr.Path(id)
	times := func(t tree.Time) time.Time {
		if g.small {
			return t.Time().Truncate(time.Second)
		}
		return t.Time()
	}
	major, minor := uint32(0), uint32(0)
	if n.IsDevice() {
		major, minor = raw.Device()
	}
	links := uint16(n.Links)
	if n.IsDir() {
		links = raw.Links()
	}
	got := fmt.Sprint(raw.Mode(), raw.UID(), raw.GID(), links, major, minor, raw.Atime().UTC(), raw.Mtime().UTC(), raw.Ctime().UTC())
	want := fmt.Sprint(n.Mode, n.UID, n.GID, n.Links, n.Major, n.Minor, times(n.Atime), times(n.Mtime), times(n.Ctime))
	if n.IsDir() {
		want = fmt.Sprint(n.Mode, n.UID, n.GID, links, n.Major, n.Minor, times(n.Atime), times(n.Mtime), times(n.Ctime))
	}
	if got != want {
		g.Errorf("%s: %s, want %s", path, got, want)
	}
	switch {
	case n.IsSymlink():
		if s, err := i.Readlink(); err != nil || s != g.tr.Target(id) {
			g.Errorf("%s: target %q, %v", path, s, err)
		}
	case n.IsRegular():
		g.content(id, i)
	}
	list, err := i.Xattrs()
	if err != nil {
		g.Errorf("%s: %v", path, err)
	}
	have := map[string]string{}
	for _, x := range list {
		have[x.Name] = string(x.Value)
	}
	for _, x := range g.tr.Xattrs(id) {
		if v, ok := have[x.Name]; !ok || v != string(x.Value) {
			g.Errorf("%s: %s is %x, want %x", path, x.Name, v, x.Value)
		}
		delete(have, x.Name)
	}
	if len(have) > 0 {
		g.Errorf("%s has more attributes: %v", path, have)
	}
}

// content compares bytes and holes.
func (g *judge) content(id tree.ID, i *ext4fs.Inode) {
	g.Helper()
	n, path := g.tr.Node(id), g.tr.Path(id)
	if i.Size() != n.Size {
		g.Errorf("%s: %d bytes, want %d", path, i.Size(), n.Size)
		return
	}
	want, err := g.tr.Open(id)
	if err != nil {
		g.Fatal(err)
	}
	defer want.Close()
	spans, err := g.tr.Spans(id)
	if err != nil {
		g.Fatal(err)
	}
	if spans == nil && n.Size > 0 {
		spans = []tree.Span{{Len: n.Size}}
	}
	for _, s := range spans {
		a, b := make([]byte, s.Len), make([]byte, s.Len)
		if _, err := i.ReadAt(a, s.Off); err != nil && err != io.EOF {
			g.Fatalf("%s: %v", path, err)
		}
		if err := device.ReadFull(want, b, s.Off); err != nil {
			g.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			g.Errorf("%s: other content in %d bytes at %d", path, s.Len, s.Off)
		}
	}
	unit := g.fsys.Super().ClusterSize()
	blocks, end := int64(0), int64(0)
	for _, s := range spans {
		from, to := max(s.Off/unit, end), (s.Off+s.Len+unit-1)/unit
		blocks += max(to-from, 0)
		end = max(end, to)
	}
	data := int64(0)
	for e, err := range i.Data() {
		if err != nil {
			g.Fatal(err)
		}
		data += (e.Len + unit - 1) / unit
	}
	if data > blocks {
		g.Errorf("%s: data in %d clusters, want %d", path, data, blocks)
	}
}

func TestWrite_randomTrees(t *testing.T) {
	t.Parallel()
	testimages.RequireTool(t, "e2fsck")
	for i, o := range []Options{
		{Size: SizeAuto},
		{Size: SizeMin},
		{Size: 64 << 20, BlockSize: 1024, Type: "ext2", InodeSize: 128},
		{Size: SizeAuto, BlockSize: 2048, Type: "ext3"},
		{Size: SizeMin, BlockSize: 1024},
		{Size: SizeMin, Type: "ext2"},
		{Size: 256 << 20, Features: []string{"bigalloc"}, BlockSize: 4096},
		{Size: SizeAuto, Features: []string{"bigalloc", "inline_data"}, BlockSize: 1024, ClusterSize: 8192},
		{Size: SizeAuto, Features: []string{"inline_data", "ea_inode", "quota"}, BlockSize: 4096},
		{Size: SizeMin, Features: []string{"inline_data", "^metadata_csum", "^dir_index"}, BlockSize: 1024, InodeSize: 512},
		{Size: SizeAuto, Features: []string{"^flex_bg", "^64bit", "^resize_inode"}, BlockSize: 1024},
		{Size: SizeAuto, BlockSize: 65536},
		{Size: 512 << 20, Reproducible: true, Time: time.Unix(1<<31, 0)},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			o.Zeroed = true
			tr := newRandomTree(uint64(i), 400, o.InodeSize != 128)
			img, _ := writeImage(t, o, tr)
			testimages.Fsck(t, img)
			sameAsTree(t, img, tr)
		})
	}
}

// TestWrite_kernelReads lets the kernel read what e4kit makes.
func TestWrite_kernelReads(t *testing.T) {
	t.Parallel()
	testimages.RequireTool(t, "e2fsck")
	testimages.RequireLoop(t)
	for i, o := range []Options{
		{Size: SizeAuto},
		{Size: SizeMin, BlockSize: 1024, Features: []string{"inline_data", "ea_inode", "quota"}},
		{Size: 64 << 20, BlockSize: 1024, Type: "ext2", InodeSize: 128},
		{Size: SizeAuto, Features: []string{"bigalloc"}, BlockSize: 4096},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			o.Zeroed = true
			tr := newRandomTree(uint64(100+i), 300, o.InodeSize != 128)
			img, _ := writeImage(t, o, tr)
			testimages.Fsck(t, img)
			fsys, err := ext4fs.OpenFile(img, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer fsys.Close()
			root, err := fsys.Root()
			if err != nil {
				t.Fatal(err)
			}
			lines, err := fsys.Manifest(t.Context(), root)
			if err != nil {
				t.Fatal(err)
			}
			var want testimages.Manifest
			for _, l := range lines {
				want = append(want, l.String())
			}
			if err := testimages.Mounted(img, "ro", func(dir string) error { return testimages.SameManifest(want, dir) }); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestWrite_oldContent makes images where something else was.
func TestWrite_oldContent(t *testing.T) {
	t.Parallel()
	testimages.RequireTool(t, "e2fsck")
	yes, no := true, false
	for i, o := range []Options{
		{},
		{Extended: Extended{NoDiscard: true}},
		{Extended: Extended{NoDiscard: true, LazyItable: &yes}},
		{Extended: Extended{NoDiscard: true, LazyItable: &no}},
		{Type: "ext2", Extended: Extended{NoDiscard: true}},
		{Type: "ext3", BlockSize: 4096, Extended: Extended{NoDiscard: true}},
		{Features: []string{"quota", "inline_data", "orphan_file"}, BlockSize: 4096, Extended: Extended{NoDiscard: true}},
		{Features: []string{"bigalloc"}, BlockSize: 4096, Extended: Extended{NoDiscard: true}},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			o.Size = 24 << 20
			tr := newRandomTree(uint64(200+i), 200, true)
			img, _ := writeOver(t, o, tr, 0xa5)
			testimages.Fsck(t, img)
			sameAsTree(t, img, tr)
		})
	}
}

// TestWrite_valueInodes gives files attributes that are too long for a block,
// some the same ones.
func TestWrite_valueInodes(t *testing.T) {
	testimages.RequireTool(t, "e2fsck")
	value := func(seed byte, n int) []byte { return bytes.Repeat([]byte{seed, 1, 2}, n/3) }
	sets := [][]tree.Xattr{
		{{Name: "user.long", Value: value(1, 9000)}},
		{{Name: "user.long", Value: value(1, 9000)}, {Name: "user.more", Value: value(1, 9000)}},
		{{Name: "user.a", Value: value(2, 65535)}, {Name: "user.b", Value: value(3, 3000)}, {Name: "user.c", Value: value(4, 3000)}},
		{{Name: "security.selinux", Value: value(5, 30)}, {Name: "trusted.long", Value: value(2, 65535)}},
	}
	for _, o := range []Options{
		{Features: []string{"ea_inode"}, BlockSize: 4096},
		{Features: []string{"ea_inode", "quota"}, BlockSize: 1024},
		{Features: []string{"ea_inode", "bigalloc", "inline_data", "quota"}, BlockSize: 4096},
		{Features: []string{"ea_inode", "^metadata_csum"}, BlockSize: 4096, InodeSize: 128},
	} {
		tr := tree.New()
		for i := range 40 {
			id := addFile(t, tr, fmt.Sprint(i), int64(i*10), &pieces{size: int64(i * 10)})
			tr.Node(id).UID = uint32(i % 3)
			tr.SetXattrs(id, append([]tree.Xattr(nil), sets[i%len(sets)]...))
		}
		o.Size, o.Zeroed = SizeAuto, true
		img, _ := writeImage(t, o, tr)
		testimages.Fsck(t, img)
		sameAsTree(t, img, tr)
	}
}

// TestWrite_sharedAttributes has more files with the same attributes than may
// share a block, and a deep tree.
func TestWrite_sharedAttributes(t *testing.T) {
	t.Parallel()
	testimages.RequireTool(t, "e2fsck")
	tr := tree.New()
	for i := range 2500 {
		id := addFile(t, tr, fmt.Sprint(i), 0, nil)
		tr.SetXattrs(id, []tree.Xattr{{Name: "user.same", Value: bytes.Repeat([]byte{7}, 700)}})
	}
	dir := tree.Root
	for range 1500 {
		id, err := tr.Add(dir, "deeper", tree.Node{Mode: disk.ModeDir | 0o755})
		if err != nil {
			t.Fatal(err)
		}
		dir = id
	}
	img, j := writeImage(t, Options{Size: SizeAuto, BlockSize: 4096, Zeroed: true}, tr)
	testimages.Fsck(t, img)
	sameAsTree(t, img, tr)
	if n := len(j.m.attrBlocks); n != 3 {
		t.Errorf("%d blocks of attributes, 3 would do", n)
	}
}
