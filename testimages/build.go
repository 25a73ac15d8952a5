package testimages

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Case is one image of the matrix.
type Case struct {
	Name   string
	Covers string   // what this image holds that others do not
	Size   int64    // of the image in bytes
	Mkfs   []string // arguments of mke2fs beyond those of [MakeFS]

	// Kernel tells that the kernel can mount the image: its tree is then taken
	// from there. Otherwise what was put in stands for it.
	Kernel bool
	// Slow marks the cases that take seconds; quick test runs may leave them out.
	Slow bool
	// MountOpts are needed to mount the image, beside ro.
	MountOpts string
	// ExternalJournal tells that the journal lies in a second image, see
	// [JournalOf].
	ExternalJournal bool

	// make fills the image after mke2fs; nil mounts it and runs FillTree.
	make func(b *builder) error
	// fill adapts FillTree to the case.
	fill Fill
}

// Image is a built case. The file is shared: never write to it.
type Image struct {
	Case
	Path string
	// Tree is the manifest the tree must have. If it was not taken by the
	// kernel (see Case.Kernel) it lacks the lines of "/" and "/lost+found".
	Tree Manifest
	// Stat is the list of [StatDir]; nil unless taken by the kernel.
	Stat Manifest
}

// builder is the state of one build.
type builder struct {
	c    Case
	dir  string // holds everything of this case
	img  string
	tree Manifest // set by builders whose image the kernel cannot mount
}

type buildResult struct {
	once  sync.Once
	image Image
	err   error
}

var builds sync.Map // case name -> *buildResult

// BuildImage builds c, once per process, and takes its tree.
func BuildImage(c Case) (Image, error) {
	v, _ := builds.LoadOrStore(c.Name, new(buildResult))
	r := v.(*buildResult)
	r.once.Do(func() {
		if r.image, r.err = build(c); r.err != nil {
			r.err = fmt.Errorf("image %s: %w", c.Name, r.err)
		}
	})
	return r.image, r.err
}

func build(c Case) (Image, error) {
	if cache := os.Getenv(EnvCache); cache != "" {
		return buildShared(cache, c)
	}
	dir, err := scratchDir("case-" + c.Name + "-")
	if err != nil {
		return Image{}, err
	}
	return buildIn(dir, c)
}

// buildIn builds c in the empty folder dir.
func buildIn(dir string, c Case) (Image, error) {
	b := &builder{c: c, dir: dir, img: filepath.Join(dir, c.Name+".img")}
	if err := b.run(); err != nil {
		return Image{}, errors.Join(err, os.RemoveAll(dir))
	}
	im := Image{Case: c, Path: b.img, Tree: b.tree}
	if !c.Kernel {
		return im, nil
	}
	var err error
	im.Tree, im.Stat, err = b.kernelView()
	return im, err
}

func (b *builder) run() error {
	if b.c.make != nil {
		return b.c.make(b)
	}
	if err := b.mkfs(); err != nil {
		return err
	}
	return b.mount(func(dir string) error { return FillTree(dir, b.c.fill) })
}

func (b *builder) mkfs(more ...string) error {
	return MakeFS(b.img, b.c.Size, append(append([]string(nil), b.c.Mkfs...), more...)...)
}

func (b *builder) mount(fn func(dir string) error) error {
	return Mounted(b.img, b.c.MountOpts, fn)
}

// tune runs tune2fs on the image.
func (b *builder) tune(args ...string) error {
	defer distrust(b.img)
	_, err := run("tune2fs", append(args, b.img)...)
	return err
}

// debugfs changes the image; what debugfs says is an error, for it exits with
// 0 whatever happens and is silent when all is well.
func (b *builder) debugfs(commands ...string) error {
	out, err := RunDebugfs(b.img, true, commands...)
	if err == nil && strings.TrimSpace(out) != "" {
		err = fmt.Errorf("debugfs: %s", tail(out, 500))
	}
	return err
}

// fsck lets e2fsck finish what debugfs left open, such as checksums of a
// changed feature set or directory indexes. 1 means that it changed something.
func (b *builder) fsck(args ...string) error {
	defer distrust(b.img)
	_, err := run("e2fsck", append(args, b.img)...)
	if exitCode(err) == 1 {
		return nil
	}
	return err
}

// kernelView mounts the image read-only and takes its tree. An image whose
// journal needs recovery is copied, for recovery writes.
func (b *builder) kernelView() (tree, stat Manifest, err error) {
	img, opts := b.img, "ro"
	if dirty, err := NeedsRecovery(img); err != nil {
		return nil, nil, err
	} else if dirty {
		img = filepath.Join(b.dir, "recovered.img")
		if err := CopyFile(img, b.img); err != nil {
			return nil, nil, err
		}
		defer os.Remove(img)
		if b.c.ExternalJournal {
			if err := CopyFile(JournalOf(img), JournalOf(b.img)); err != nil {
				return nil, nil, err
			}
			defer os.Remove(JournalOf(img))
		}
		opts = "noatime"
	}
	if b.c.MountOpts != "" {
		opts += "," + b.c.MountOpts
	}
	err = b.mounted(img, opts, func(dir string) error {
		if tree, err = ManifestDir(dir); err != nil {
			return err
		}
		stat, err = StatDir(dir)
		return err
	})
	return tree, stat, err
}

// mounted is Mounted, with the external journal of the case if it has one.
func (b *builder) mounted(img, opts string, fn func(dir string) error) error {
	if !b.c.ExternalJournal {
		return Mounted(img, opts, fn)
	}
	return mountedWithJournal(img, JournalOf(img), opts, fn)
}

// JournalOf names the file of the external journal that belongs to the image.
func JournalOf(img string) string { return img + ".journal" }

// Build builds c and returns the path of its image, to be read only. Without
// the tools, and without root and loop devices where the kernel fills the
// image, t is skipped.
func Build(t testing.TB, c Case) string {
	t.Helper()
	return BuildFull(t, c).Path
}

// BuildFull is [Build] with everything known of the image.
func BuildFull(t testing.TB, c Case) Image {
	t.Helper()
	RequireLoop(t)
	RequireTool(t, "debugfs", "tune2fs")
	im, err := BuildImage(c)
	if err != nil {
		t.Fatal(err)
	}
	return im
}

// Truth builds c and returns the manifest that its tree must have.
func Truth(t testing.TB, c Case) Manifest {
	t.Helper()
	return BuildFull(t, c).Tree
}

// Find returns the case of that name.
func Find(t testing.TB, name string) Case {
	t.Helper()
	for _, c := range Matrix() {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no case %q in the matrix", name)
	return Case{}
}
