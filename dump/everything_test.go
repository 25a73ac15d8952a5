package dump

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/testimages"
)

// openImage opens an image file for a test; with the external journal beside
// it if there is one.
func openImage(t testing.TB, path string, o ext4fs.Options) *Image {
	t.Helper()
	dev, err := device.Open(path, device.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	if jpath := testimages.JournalOf(path); fileExists(jpath) {
		j, err := device.Open(jpath, device.Options{Partition: "@0"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { j.Close() })
		o.Journal = j
	}
	im, err := Open(dev, &o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { im.Close() })
	return im
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// demo is the image in the repository, unpacked.
func demo(t testing.TB) []byte {
	t.Helper()
	folder, err := testimages.DemoPath()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(folder, testimages.DemoImage))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func openDemo(t testing.TB) *Image {
	t.Helper()
	im, err := Open(device.NewMemory(demo(t)), nil)
	if err != nil {
		t.Fatal(err)
	}
	return im
}

// bounds of a dump of everything, for images whose numbers are not to be
// trusted.
type bounds struct {
	inodes uint32
	blocks int
}

// everything dumps what there is to dump. Errors go to failed.
func everything(ctx context.Context, im *Image, b bounds, visit func(Value), failed func(error)) {
	put := func(v Value, err error) {
		if err != nil {
			failed(err)
			return
		}
		visit(v)
	}
	visit(im.Super())
	for v, err := range im.Journal() {
		put(v, err)
		if ctx.Err() != nil {
			return
		}
	}
	if im.FS() == nil {
		return
	}
	for g, err := range im.Groups(ctx, true) {
		put(g, err)
	}
	for g := range min(im.super.Groups(), 64) {
		x, y, err := im.Bitmaps(g)
		put(x, err)
		put(y, err)
	}
	for _, g := range im.BackupGroups() {
		v, err := im.Backup(g)
		put(v, err)
	}
	v, err := im.FreeSpace(ctx)
	put(v, err)
	o, err := im.Orphans()
	put(o, err)
	if im.super.Features.Incompat.Has(disk.IncompatMMP) {
		m, err := im.MMP()
		put(m, err)
	}
	everyInode(ctx, im, b, put)
	everyBlock(ctx, im, b, put)
	var stats ExtentStats
	for s, err := range Scan(ctx, im, ScanOptions{}, func(s *ExtentStats, f *File) { s.Add(f) }) {
		if err != nil {
			failed(err)
			return
		}
		stats.Merge(s)
	}
	paths, err := im.Paths(ctx, stats.Worst())
	if err != nil {
		failed(err)
		return
	}
	visit(im.Summary(&stats, paths))
	if _, err := im.Map(ctx, uint64(im.super.BlocksPerGroup), 100, nil); err != nil {
		failed(err)
	}
}

func everyInode(ctx context.Context, im *Image, b bounds, put func(Value, error)) {
	for n := disk.InodeNum(1); n <= im.super.Inodes() && uint32(n) <= b.inodes && ctx.Err() == nil; n++ {
		v, err := im.Inode(n)
		put(v, err)
		if err != nil || v.Links == 0 {
			continue
		}
		sets, err := im.Xattrs(n)
		for _, s := range sets {
			put(s, err)
		}
		for x, err := range im.Extents(n, true) {
			if err != nil {
				put(nil, err)
			}
			_ = x
		}
		for x, err := range im.Tree(n) {
			put(x, err)
		}
		if v.Kind != "directory" {
			continue
		}
		for d, err := range im.Dir(n) {
			put(d, err)
		}
		if v.Flags.Raw&uint32(disk.FlagIndex) != 0 {
			for h, err := range im.Htree(n) {
				put(h, err)
			}
		}
	}
}

func everyBlock(ctx context.Context, im *Image, b bounds, put func(Value, error)) {
	total := im.super.Blocks()
	step := max(total/uint64(b.blocks), 1)
	for n := uint64(0); n < total && ctx.Err() == nil; n += step {
		v, err := im.Block(disk.BlockNum(n))
		put(v, err)
	}
}

// trouble finds checksums that are bad and problems in a value's JSON.
func trouble(t testing.TB, v Value) []string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("%T: %v", v, err)
	}
	var tree any
	if err := json.Unmarshal(b, &tree); err != nil {
		t.Fatalf("%T: %v", v, err)
	}
	var list []string
	findTrouble(tree, "", &list)
	return list
}

func findTrouble(v any, at string, list *[]string) {
	switch v := v.(type) {
	case map[string]any:
		if v["state"] == ChecksumBad || v["hash_state"] == ChecksumBad {
			*list = append(*list, at+": bad checksum")
		}
		for k, x := range v {
			if (k == "problems" || k == "problem") && x != nil {
				*list = append(*list, fmt.Sprintf("%s: %v", at, x))
			}
			findTrouble(x, at+"."+k, list)
		}
	case []any:
		for i, x := range v {
			findTrouble(x, fmt.Sprintf("%s[%d]", at, i), list)
		}
	}
}

func textOf(t testing.TB, v Value) string {
	t.Helper()
	var b bytes.Buffer
	if err := v.WriteText(&b); err != nil {
		t.Fatalf("%T: %v", v, err)
	}
	return b.String()
}
