package dir_test

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/dir"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/xattr"
	"github.com/e4kit/e4kit/testimages"
)

// planCase is a directory that a plan makes, for the checker and the kernel.
type planCase struct {
	name    string
	size    int // of a block
	mkfs    []string
	tune    string
	n       int
	text    func(i int) string
	compact bool
	fold    bool
	noMount bool
	ties    bool // names of equal hashes
}

func numbered(i int) string { return fmt.Sprintf("some-name-%d", i) }

func planCases() []planCase {
	long := func(i int) string { return fmt.Sprintf("%05d-%s", i, strings.Repeat("z", 100+i%139)) }
	high := func(i int) string { return fmt.Sprintf("n\xc3\xa4me-\xff-%d", i) }
	var same []string // pairs of names with one legacy hash
	seen := map[uint32]string{}
	var seed [4]uint32
	for i := 0; len(same) < 3000 && i < 1<<21; i++ {
		s := fmt.Sprintf("c%x", i)
		h, _, _ := disk.DirHash(disk.HashLegacy, &seed, []byte(s))
		if old, ok := seen[h]; ok {
			same = append(same, old, s)
			delete(seen, h)
			continue
		}
		seen[h] = s
	}
	chain := append(oneHash(), numbered(1), numbered(2), numbered(3))
	return []planCase{
		{name: "linear", size: 4096, n: 100, text: numbered},
		{name: "empty", size: 1024, n: 0, text: numbered},
		{name: "two leaves", size: 1024, n: 60, text: numbered},
		{name: "one leaf", size: 1024, n: 38, text: func(i int) string { return fmt.Sprintf("name-of-%07d", i) }, compact: true},
		{name: "1k levels", size: 1024, n: 9000, text: long},
		{name: "1k compact", size: 1024, n: 9000, text: long, compact: true},
		{name: "3 levels", size: 1024, mkfs: []string{"-O", "large_dir"}, n: 70000, text: func(i int) string { return fmt.Sprintf("%05d-%s", i, strings.Repeat("z", 240)) }},
		{name: "4k many", size: 4096, n: 200000, text: numbered},
		{name: "no checksums", size: 2048, mkfs: []string{"-O", "^metadata_csum"}, n: 5000, text: numbered},
		{name: "no dir_index", size: 1024, mkfs: []string{"-O", "^dir_index"}, n: 3000, text: numbered},
		{name: "no filetype", size: 1024, mkfs: []string{"-O", "^filetype"}, n: 3000, text: numbered},
		{name: "tea unsigned", size: 1024, tune: "hash_alg=tea", n: 4000, text: high},
		{name: "high bytes", size: 1024, n: 4000, text: high},
		{name: "legacy", size: 1024, tune: "hash_alg=legacy", n: len(same), text: func(i int) string { return same[i] }, ties: true},
		{name: "one hash", size: 1024, tune: "hash_alg=legacy", n: len(chain), text: func(i int) string { return chain[i] }, ties: true},
		{name: "casefold", size: 1024, mkfs: []string{"-O", "casefold"}, n: 2000, text: func(i int) string { return fmt.Sprintf("Näme-ẞ-%d", i) }, fold: true, noMount: true},
		{name: "64k", size: 65536, n: 20000, text: numbered, noMount: true},
	}
}

// oneHash gives long names that have one signed legacy hash, and so fill
// several leaves. Their ends were searched for.
func oneHash() (list []string) {
	const ends = "0ABC 2232f}x 3403X0L 7539p0Q 16789|A{ 22221xER 42471I`Z 44523yM0 45090YX? 46227Abb 492807kM 50916G7F 514712CM " +
		"53058S6= 54426{IR 5793154x 61295q:k 61824[D[ 62110oJ] 64093G9i 66857r:T 71684g:T 76200<>a 76470jCm 95032XS< 95074_>O " +
		"97004;R> 977834{< 99883lpG 107350w;S"
	for s := range strings.FieldsSeq(ends) {
		list = append(list, strings.Repeat("n", 230)+strings.Repeat("0", 9-len(s))+s)
	}
	return list
}

func TestOneHash(t *testing.T) {
	var seed [4]uint32
	hashes := map[uint32]bool{}
	for _, s := range oneHash() {
		h, _, _ := disk.DirHash(disk.HashLegacy, &seed, []byte(s))
		hashes[h] = true
	}
	if len(hashes) != 1 {
		t.Error(len(hashes))
	}
}

// TestPlan_oracle writes planned directories into images. The checker finds
// nothing, debugfs agrees with the tree, and the kernel lists the names in the
// planned order, finds them, and adds more.
func TestPlan_oracle(t *testing.T) {
	testimages.RequireTool(t, "mke2fs", "debugfs", "e2fsck")
	for _, pc := range planCases() {
		t.Run(pc.name, func(t *testing.T) {
			img, list, p := planImage(t, pc)
			testimages.Fsck(t, img)
			if p.Indexed() {
				compareHtree(t, img, pc, p)
			}
			if !pc.noMount {
				planMount(t, img, pc, list, p)
			}
		})
	}
}

// perFile is how many names each file gets: links are limited.
const perFile = 30000

// planImage makes an image whose directory /big is planned.
func planImage(t *testing.T, pc planCase) (string, []string, *dir.Plan) {
	t.Helper()
	list := make([]string, pc.n)
	for i := range list {
		list[i] = pc.text(i)
	}
	slices.Sort(list)
	top := testimages.Scratch(t)
	img := filepath.Join(top, "plan.img")
	args := append([]string{"-t", "ext4", "-b", fmt.Sprint(pc.size)}, pc.mkfs...)
	mkfs := func(size int64, args ...string) {
		testimages.Mkfs(t, img, size, args...)
		if pc.tune != "" {
			testimages.Run(t, "tune2fs", "-E", pc.tune, img)
		}
	}
	mkfs(64<<20, args...) // for its superblock only
	p := planOf(t, openImage(t, img), pc, list)

	src := filepath.Join(top, "src")
	if err := os.Mkdir(src, 0o755); err != nil {
		t.Fatal(err)
	}
	files := pc.n/perFile + 1
	names := []string{"big"}
	for i := range files {
		names = append(names, fmt.Sprintf("file%d", i))
	}
	for i, s := range names {
		data := []byte(nil)
		if i == 0 {
			data = testimages.Content(1, int(p.Size()))
		}
		if err := os.WriteFile(filepath.Join(src, s), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	mkfs(64<<20+4*p.Size(), append(args, "-d", src)...)
	im := openImage(t, img)
	root := im.config(disk.RootInode)
	find := func(s string) disk.InodeNum {
		e, err := root.Lookup([]byte(s))
		if err != nil {
			t.Fatal(err)
		}
		return e.Inode
	}
	big := find("big")
	commands := []string{"sif big mode 040755", "sif big links_count 2", "sif / links_count 4", "set_bg 0 used_dirs_count 3", "set_bg 0 checksum calc"}
	flags := uint32(im.inode(big).Flags())
	if p.Indexed() {
		flags |= uint32(disk.FlagIndex)
	}
	if pc.fold {
		flags |= uint32(disk.FlagCasefold)
	}
	commands = append(commands, fmt.Sprintf("sif big flags 0x%x", flags))
	for i := range files {
		commands = append(commands, fmt.Sprintf("sif file%d links_count %d", i, 1+max(0, min(perFile, pc.n-i*perFile))))
	}
	testimages.DebugfsWrite(t, img, commands...)

	im = openImage(t, img)
	p = planOf(t, im, pc, list)
	c := im.config(big)
	inodes := make([]disk.InodeNum, files)
	for i := range inodes {
		inodes[i] = find(fmt.Sprintf("file%d", i))
	}
	putPlan(t, img, c, p, dir.Self{Inode: big, Parent: disk.RootInode, Seed: c.Seed}, func(i int) dir.Child {
		return dir.Child{Name: list[i], Inode: inodes[i/perFile], Type: disk.FileTypeRegular}
	})
	names = append(names, "lost+found")
	rootPlan := planOf(t, im, planCase{size: pc.size}, names)
	putPlan(t, img, root, rootPlan, dir.Self{Inode: disk.RootInode, Parent: disk.RootInode, Seed: root.Seed}, func(i int) dir.Child {
		ch := dir.Child{Name: names[i], Inode: find(names[i]), Type: disk.FileTypeRegular}
		if names[i] == "big" || names[i] == "lost+found" {
			ch.Type = disk.FileTypeDir
		}
		return ch
	})
	return img, list, p
}

// planOf plans a directory for that image.
func planOf(t *testing.T, im *image, pc planCase, list []string) *dir.Plan {
	t.Helper()
	c := im.config(disk.RootInode)
	b, err := dir.NewBuilder(dir.Form{BlockSize: c.BlockSize, DirIndex: c.DirIndex, MetadataCsum: c.MetadataCsum, Filetype: c.Filetype,
		LargeDir: c.LargeDir, HashSeed: c.HashSeed, HashVersion: c.HashVersion, SignedHash: c.SignedHash, Strict: c.Strict, Compact: pc.compact})
	if err != nil {
		t.Fatal(err)
	}
	p, err := b.Plan(len(list), func(i int) string { return list[i] }, dir.PlanOptions{Casefold: pc.fold})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// putPlan writes a planned directory to where the image has it.
func putPlan(t *testing.T, img string, c *dir.Config, p *dir.Plan, self dir.Self, child func(i int) dir.Child) {
	t.Helper()
	if c.Blocks != p.Blocks() {
		t.Fatalf("%d blocks for %d", c.Blocks, p.Blocks())
	}
	f, err := os.OpenFile(img, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data := make([]byte, c.BlockSize)
	for l := range p.Blocks() {
		at, err := c.Read(l)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Put(data, l, self, child); err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(data, int64(at.Block())*int64(c.BlockSize)); err != nil {
			t.Fatal(err)
		}
	}
}

// compareHtree compares with what debugfs shows of the tree.
func compareHtree(t *testing.T, img string, pc planCase, p *dir.Plan) {
	t.Helper()
	out := testimages.Debugfs(t, img, "htree_dump /big")
	if want := fmt.Sprintf("Indirect levels: %d", p.Levels()); !strings.Contains(out, want) {
		t.Errorf("not %s: %.300s", want, out)
	}
	if strings.Contains(out, "checksum does not match") || strings.Contains(out, "corrupted") {
		t.Errorf("%.3000s", out)
	}
}

// planMount has the kernel list the names, look them up, and add others.
func planMount(t *testing.T, img string, pc planCase, list []string, p *dir.Plan) {
	t.Helper()
	testimages.RequireLoop(t)
	testimages.WithMount(t, img, "", func(top string) {
		f, err := os.Open(filepath.Join(top, "big"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := f.Readdirnames(-1)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		want := make([]string, p.Len())
		for k := range want {
			want[k] = list[p.At(k)]
		}
		if pc.ties {
			slices.SortFunc(got, cmp.Compare[string])
			slices.SortFunc(want, cmp.Compare[string])
		}
		if !slices.Equal(got, want) {
			t.Errorf("the kernel lists %d names of %d, or in another order", len(got), len(want))
		}
		for i := 0; i < len(list); i += 1 + len(list)/3000 {
			if _, err := os.Lstat(filepath.Join(top, "big", list[i])); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 300 {
			if err := os.WriteFile(fmt.Sprintf("%s/big/added-%d", top, i), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for i := 0; i < len(list); i += 7 {
			if err := os.Remove(filepath.Join(top, "big", list[i])); err != nil {
				t.Fatal(err)
			}
		}
	})
	testimages.Fsck(t, img)
}

// TestPlan_inlineOracle makes inline directories anew in an image: the checker
// finds nothing, and the kernel lists the names, and adds more until
// the directory needs a block.
func TestPlan_inlineOracle(t *testing.T) {
	testimages.RequireTool(t, "mke2fs", "debugfs", "e2fsck")
	testimages.RequireLoop(t)
	for _, args := range [][]string{{"-I", "256"}, {"-I", "512", "-O", "^dir_index"}, {"-I", "1024", "-O", "^metadata_csum"}} {
		top := testimages.Scratch(t)
		img := filepath.Join(top, "inline.img")
		testimages.Mkfs(t, img, 8<<20, append([]string{"-t", "ext4", "-b", "4096", "-O", "inline_data"}, args...)...)
		lists := make([][]string, 9)
		testimages.WithMount(t, img, "", func(top string) {
			for n := range lists {
				if err := os.Mkdir(fmt.Sprintf("%s/d%d", top, n), 0o755); err != nil {
					t.Fatal(err)
				}
				for i := range n {
					s := fmt.Sprintf("%s%d", strings.Repeat("n", (n*i)%7), i)
					lists[n] = append(lists[n], s)
					if err := os.WriteFile(fmt.Sprintf("%s/d%d/%s", top, n, s), nil, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				slices.Sort(lists[n])
			}
		})
		for n, list := range lists {
			replaceInline(t, img, fmt.Sprintf("d%d", n), list)
		}
		testimages.Fsck(t, img)
		testimages.WithMount(t, img, "", func(top string) {
			for n, list := range lists {
				inlineMount(t, fmt.Sprintf("%s/d%d", top, n), list)
			}
		})
		testimages.Fsck(t, img)
	}
}

// replaceInline makes a directory's content of a plan.
func replaceInline(t *testing.T, img, name string, list []string) {
	t.Helper()
	im := openImage(t, img)
	root := im.config(disk.RootInode)
	e, err := root.Lookup([]byte(name))
	if err != nil {
		t.Fatal(err)
	}
	c := im.config(e.Inode)
	if c.InlineBlock == nil {
		t.Fatalf("%s is not inline", name)
	}
	inodes := map[string]disk.InodeNum{}
	for e, err := range c.Entries() {
		if err != nil {
			t.Fatal(err)
		}
		inodes[string(e.Name)] = e.Inode
	}
	p := planOf(t, im, planCase{}, list)
	record := slices.Clone(im.inode(e.Inode))
	clear(record[128+record.ExtraSize():])
	block, value, err := p.PutInline(dir.Self{Inode: e.Inode, Parent: disk.RootInode}, func(i int) dir.Child {
		return dir.Child{Name: list[i], Inode: inodes[list[i]], Type: disk.FileTypeRegular}
	}, xattr.InlineRoom(record))
	if err != nil {
		t.Fatal(err)
	}
	copy(record.Block(), block[:])
	data := []xattr.Entry{{Index: disk.XattrSystem, Name: []byte("data"), Value: value}}
	if _, err := xattr.Lay(xattr.Rules{BlockSize: im.super.BlockSize()}, record, data, nil); err != nil {
		t.Fatal(err)
	}
	record.SetSize(int64(len(block) + len(value)))
	if im.super.HasMetadataCsum() {
		record.Seal(im.super.Seed(), e.Inode)
	}
	f, err := os.OpenFile(img, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fs, err := ext4fs.OpenFile(img, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer fs.Close()
	bn, at, err := fs.InodeLocation(e.Inode)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(record, int64(bn)*int64(im.super.BlockSize())+int64(at)); err != nil {
		t.Fatal(err)
	}
}

func inlineMount(t *testing.T, path string, list []string) {
	t.Helper()
	entries, err := os.ReadDir(path)
	if err != nil || len(entries) != len(list) {
		t.Fatalf("%s: %d names of %d, %v", path, len(entries), len(list), err)
	}
	for i, e := range entries {
		if e.Name() != list[i] {
			t.Errorf("%s: %q instead of %q", path, e.Name(), list[i])
		}
	}
	for i := range 40 {
		if err := os.WriteFile(fmt.Sprintf("%s/more-%d", path, i), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if len(list) > 0 {
		if err := os.Remove(filepath.Join(path, list[0])); err != nil {
			t.Error(err)
		}
	}
}
