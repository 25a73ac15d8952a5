package journal_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/journal"
	"github.com/e4kit/e4kit/testimages"
)

// playground is a file system image whose free blocks the journal writes: that
// hurts nobody, and other programs must bring the same home.
type playground struct {
	t      *testing.T
	dev    *device.RAM
	logDev *device.RAM // nil: in dev
	sb     *disk.Superblock
	runs   []journal.Run
	kind   journal.Checksum
	free   []disk.BlockNum
	now    map[disk.BlockNum]uint64 // content of free
	rng    *rand.Rand
	j      *journal.Journal
	label  string
}

type playCase struct {
	name    string
	size    int64
	mkfs    []string
	kind    journal.Checksum
	commits int
}

var playCases = []playCase{
	{name: "4k", size: 64 << 20, kind: journal.ChecksumV3, commits: 60},
	{name: "1k_wrap", size: 32 << 20, mkfs: []string{"-b", "1024", "-J", "size=1"}, kind: journal.ChecksumV3, commits: 300},
	{name: "nosum", size: 32 << 20, mkfs: []string{"-b", "1024", "-J", "size=1", "-O", "^metadata_csum,^64bit"}, commits: 300},
	{name: "nosum_64bit", size: 64 << 20, mkfs: []string{"-O", "^metadata_csum,64bit"}, commits: 60},
	{name: "v1", size: 64 << 20, mkfs: []string{"-O", "^metadata_csum"}, kind: journal.ChecksumV1, commits: 60},
	{name: "v2", size: 64 << 20, kind: journal.ChecksumV2, commits: 60},
	{name: "v2_32bit", size: 64 << 20, mkfs: []string{"-O", "^64bit"}, kind: journal.ChecksumV2, commits: 60},
	{name: "ext3", size: 32 << 20, mkfs: []string{"-t", "ext3", "-b", "1024", "-J", "size=1"}, commits: 300},
	{name: "fast_commit", size: 32 << 20, mkfs: []string{"-b", "1024", "-J", "size=1", "-O", "fast_commit"},
		kind: journal.ChecksumV3, commits: 300},
}

func TestWrite_isReplayedByOthers(t *testing.T) {
	testimages.RequireLoop(t)
	testimages.RequireTool(t, "e2fsck", "debugfs")
	for _, c := range playCases {
		t.Run(c.name, func(t *testing.T) {
			img := filepath.Join(testimages.Scratch(t), c.name+".img")
			testimages.Mkfs(t, img, c.size, c.mkfs...)
			for round := range uint64(3) {
				p := newPlayground(t, img, round)
				p.kind = c.kind
				p.play(c.commits)
				img = p.replayed()
			}
		})
	}
}

// newPlayground takes the image into memory.
func newPlayground(t *testing.T, img string, seed uint64) *playground {
	t.Helper()
	p := &playground{t: t, runs: journalRuns(t, img), now: map[disk.BlockNum]uint64{}, rng: rand.New(rand.NewPCG(seed, 8))}
	p.dev = loadRAM(t, img)
	p.sb = superblock(t, p.dev)
	last := p.sb.Blocks()
	for bn := last - 200; bn < last; bn++ {
		if out := testimages.Debugfs(t, img, fmt.Sprintf("testb %d", bn)); strings.Contains(out, "not in use") {
			p.free = append(p.free, disk.BlockNum(bn))
		}
		if len(p.free) == 40 {
			break
		}
	}
	if len(p.free) < 40 {
		t.Fatalf("only %d free blocks", len(p.free))
	}
	return p
}

func loadRAM(t *testing.T, img string) *device.RAM {
	t.Helper()
	ram, err := device.LoadRAM(open(t, img))
	if err != nil {
		t.Fatal(err)
	}
	return ram
}

// super changes the superblock on the device.
func (p *playground) super(change func(sb *disk.Superblock)) {
	raw := make([]byte, disk.SuperblockSize)
	if _, err := p.dev.ReadAt(raw, disk.SuperblockOffset); err != nil {
		p.t.Fatal(err)
	}
	sb := new(disk.Superblock)
	if err := sb.Decode(raw); err != nil {
		p.t.Fatal(err)
	}
	change(sb)
	sb.Encode(raw)
	if sb.HasMetadataCsum() {
		disk.SealSuperblock(raw)
	}
	if _, err := p.dev.WriteAt(raw, disk.SuperblockOffset); err != nil {
		p.t.Fatal(err)
	}
}

func (p *playground) log() *journal.WriteLog {
	p.t.Helper()
	var log *journal.WriteLog
	var err error
	if p.logDev != nil {
		log, err = journal.OpenExternalWriter(p.logDev, journal.ExternalOptions{
			BlockSize: p.sb.BlockSize(), JournalUUID: p.sb.JournalUUID, FSUUID: p.sb.UUID})
	} else {
		log, err = journal.NewInternalWriter(p.dev, p.sb.BlockSize(), p.runs)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return log
}

// play commits random changes, and leaves the devices as a crash would.
func (p *playground) play(commits int) {
	p.t.Helper()
	p.open()
	j := p.j
	for i := range commits {
		if err := p.commit(i); err != nil {
			p.t.Fatal(err)
		}
	}
	p.t.Logf("%+v", j.Stats())
	// What was not committed must not be seen.
	if h, err := j.Begin(context.Background(), 5); err == nil {
		for _, bn := range p.free[:5] {
			b, _ := h.Write(bn, nil)
			clear(b.Data())
		}
		_ = h.End()
	}
	p.dev = p.dev.Clone()
	if p.logDev != nil {
		p.logDev = p.logDev.Clone()
	}
	j.Abort(nil)
	_ = j.Close(context.Background())
}

// open starts a journal, as a mount would.
func (p *playground) open() {
	p.t.Helper()
	p.super(func(sb *disk.Superblock) { sb.Features.Incompat |= disk.IncompatRecover })
	j, err := journal.Start(journal.Config{
		Cache: cache.New(p.dev, p.sb.BlockSize(), p.sb.Blocks(), cache.Options{}), Device: p.dev, Log: p.log(),
		FastCommit: p.sb.Features.Compat.Has(disk.CompatFastCommit),
		Bits64:     p.sb.Features.Incompat.Has(disk.Incompat64bit), Checksum: p.kind, Interval: -1,
	})
	if err != nil {
		p.t.Fatal(err)
	}
	p.j = j
}

func (p *playground) commit(i int) error {
	ctx := context.Background()
	n := 1 + p.rng.IntN(10)
	h, err := p.j.Begin(ctx, n+1)
	if err != nil {
		return err
	}
	var data []disk.BlockNum
	for range n {
		bn := p.free[p.rng.IntN(len(p.free))]
		b, err := h.Write(bn, nil)
		if err != nil {
			return err
		}
		p.now[bn] = p.rng.Uint64()
		p.fill(b.Data(), p.now[bn])
		if p.rng.IntN(6) == 0 {
			h.Forget(bn)
			data = append(data, bn)
		}
	}
	if err := p.setLabel(h, fmt.Sprintf("commit%d", i)); err != nil {
		return err
	}
	id := h.ID()
	if err := errors.Join(h.End(), p.j.Commit(ctx, id)); err != nil {
		return err
	}
	// Freed blocks go to somebody else, unless they came back.
	for _, bn := range data {
		if p.j.Pinned(bn) != nil {
			continue
		}
		p.now[bn] = p.rng.Uint64()
		b := make([]byte, p.sb.BlockSize())
		p.fill(b, p.now[bn])
		if _, err := p.dev.WriteAt(b, int64(bn)*int64(len(b))); err != nil {
			return err
		}
	}
	return nil
}

func (p *playground) fill(b []byte, v uint64) {
	for i := 0; i < len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], v)
	}
	if v%3 == 0 {
		disk.Unescape(b)
	}
}

// setLabel is a change of the file system's own superblock.
func (p *playground) setLabel(h *journal.Handle, label string) error {
	off := int64(disk.SuperblockOffset)
	b, err := h.Write(disk.BlockNum(off/int64(p.sb.BlockSize())), superSealer{p.sb})
	if err != nil {
		return err
	}
	raw := b.Data()[off%int64(p.sb.BlockSize()):]
	clear(raw[0x78:0x88])
	copy(raw[0x78:], label)
	p.label = label
	return nil
}

type superSealer struct{ sb *disk.Superblock }

func (s superSealer) Seal(_ disk.BlockNum, data []byte, _ func(disk.BlockNum) []byte) {
	if s.sb.HasMetadataCsum() {
		disk.SealSuperblock(data[disk.SuperblockOffset%s.sb.BlockSize():])
	}
}

// replayed lets e2fsck, the kernel and Recover replay, compares, and returns an
// image to go on with.
func (p *playground) replayed() string {
	p.t.Helper()
	img := p.save(p.dev, "crashed.img")
	// As said in its comment e2fsck looks past the log; it finds nothing but
	// that there is one.
	ci := openCrashed(p.t, img, p.runs)
	rec, err := ci.load(journal.Options{})
	if err != nil {
		p.t.Fatal(err)
	}
	checkWalk(p.t, ci.log, p.sb.BlockSize(), rec)
	p.check(rec.Overlay(ci.dev), "overlay")
	if _, err := journal.Recover(p.t.Context(), p.dev, rec, p.log()); err != nil {
		p.t.Fatal(err)
	}
	p.check(p.dev, "Recover")
	p.super(func(sb *disk.Superblock) { sb.Features.Incompat &^= disk.IncompatRecover })
	ours := p.save(p.dev, "recovered.img")
	if err := testimages.Check(ours); err != nil {
		p.t.Errorf("recovered by us: %v", err)
	}
	p.check(recoverBy(p.t, img, false), "e2fsck")
	kernel := testimages.Copy(p.t, img)
	if err := kernelRecover(p.t, kernel); err != nil {
		p.t.Fatal(err)
	}
	p.check(open(p.t, kernel), "kernel")
	if err := testimages.Check(kernel); err != nil {
		p.t.Errorf("recovered by the kernel: %v", err)
	}
	if p.rng.IntN(2) == 0 {
		return kernel
	}
	return p.closed()
}

// closed writes on and closes: nobody has anything to recover then.
func (p *playground) closed() string {
	p.t.Helper()
	p.open()
	for i := range 30 {
		if err := p.commit(1000 + i); err != nil {
			p.t.Fatal(err)
		}
	}
	if err := p.j.Close(context.Background()); err != nil {
		p.t.Fatal(err)
	}
	p.super(func(sb *disk.Superblock) { sb.Features.Incompat &^= disk.IncompatRecover })
	img := p.save(p.dev, "closed.img")
	if err := testimages.Check(img); err != nil {
		p.t.Errorf("closed by us: %v", err)
	}
	testimages.WithMount(p.t, img, "", func(dir string) {
		name := filepath.Join(dir, "file")
		if err := errors.Join(os.WriteFile(name, []byte("x"), 0o600), syncFile(name), os.Remove(name)); err != nil {
			p.t.Error(err)
		}
	})
	p.check(p.dev, "Close")
	return img
}

func (p *playground) check(d device.Device, who string) {
	p.t.Helper()
	bs := p.sb.BlockSize()
	got, want := make([]byte, bs), make([]byte, bs)
	for bn, v := range p.now {
		if _, err := d.ReadAt(got, int64(bn)*int64(bs)); err != nil {
			p.t.Fatal(err)
		}
		p.fill(want, v)
		if string(got) != string(want) {
			p.t.Errorf("%s: block %d is wrong", who, bn)
		}
	}
	label := make([]byte, 16)
	if _, err := d.ReadAt(label, disk.SuperblockOffset+0x78); err != nil {
		p.t.Fatal(err)
	}
	if s := strings.TrimRight(string(label), "\x00"); s != p.label {
		p.t.Errorf("%s: label %q, want %q", who, s, p.label)
	}
}

// save writes a device to a file.
func (p *playground) save(d device.Device, name string) string {
	p.t.Helper()
	path := filepath.Join(testimages.Scratch(p.t), name)
	f, err := os.Create(path)
	if err != nil {
		p.t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1<<20)
	for off := int64(0); off < d.Size(); off += int64(len(b)) {
		n := min(int64(len(b)), d.Size()-off)
		if _, err := d.ReadAt(b[:n], off); err != nil {
			p.t.Fatal(err)
		}
		if _, err := f.WriteAt(b[:n], off); err != nil {
			p.t.Fatal(err)
		}
	}
	return path
}

// An external journal, which e2fsck replays.
func TestWrite_external(t *testing.T) {
	testimages.RequireLoop(t)
	testimages.RequireTool(t, "mke2fs", "e2fsck", "losetup", "debugfs")
	for _, bs := range []int{1024, 4096} {
		t.Run(strconv.Itoa(bs), func(t *testing.T) {
			dir := testimages.Scratch(t)
			img, jnl := filepath.Join(dir, "fs.img"), filepath.Join(dir, "journal.img")
			if err := errors.Join(os.WriteFile(jnl, nil, 0o600), os.Truncate(jnl, int64(bs)*1100)); err != nil {
				t.Fatal(err)
			}
			testimages.Run(t, "mke2fs", "-q", "-F", "-O", "journal_dev", "-b", strconv.Itoa(bs), jnl)
			loop := strings.TrimSpace(testimages.Run(t, "losetup", "-f", "--show", jnl))
			testimages.Mkfs(t, img, 32<<20, "-b", strconv.Itoa(bs), "-J", "device="+loop)
			testimages.Run(t, "losetup", "-d", loop)
			p := newPlayground(t, img, 5)
			p.logDev, p.kind = loadRAM(t, jnl), journal.ChecksumV3
			p.play(200)
			img, jnl = p.save(p.dev, "crashed.img"), p.save(p.logDev, "crashed.journal")
			out, err := exec.Command("e2fsck", "-E", "journal_only", "-y", "-j", jnl, img).CombinedOutput()
			var exit *exec.ExitError
			if err != nil && (!errors.As(err, &exit) || exit.ExitCode() > 1) {
				t.Fatalf("e2fsck: %v\n%s", err, out)
			}
			p.check(open(t, img), "e2fsck")
			rec, err := journal.Load(t.Context(), p.log(), journal.Options{BlockSize: bs, NeedsRecovery: true})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := journal.Recover(t.Context(), p.dev, rec, p.log()); err != nil {
				t.Fatal(err)
			}
			p.check(p.dev, "Recover")
		})
	}
}

// What Recover leaves open the kernel recovers too, fast commits included: a
// crash before they were applied loses nothing. e2fsck 1.47 is not asked: it
// damages this image even as the kernel left it, with the truncation in it.
func TestRecover_openLogForKernel(t *testing.T) {
	img := fastImage(t, 5, 3)
	p := &playground{t: t, runs: img.runs, sb: img.sb, dev: loadRAM(t, img.path)}
	rec, err := img.load(journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	done, err := journal.Recover(t.Context(), p.dev, rec, p.log())
	if err != nil || !done.Open || done.Blocks == 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	open := p.save(p.dev, "open.img")
	again, err := openCrashed(t, open, p.runs).load(journal.Options{})
	if err != nil || len(again.FastCommits) != len(rec.FastCommits) || again.Blocks() != 0 {
		t.Fatalf("%v, %v", again, err)
	}
	if err := kernelRecover(t, open); err != nil {
		t.Fatal(err)
	}
	if err := testimages.Check(open); err != nil {
		t.Fatal(err)
	}
	testimages.WithMount(t, open, "ro", func(dir string) {
		for i := range 5 {
			for k := range 3 {
				name := fmt.Sprintf("file%d-%d", i, k)
				b, err := os.ReadFile(filepath.Join(dir, name))
				// Only the last of each round was synced with its content.
				if err != nil || k == 2 && !strings.HasSuffix(string(b), name) {
					t.Errorf("%s holds %q, %v", name, b, err)
				}
			}
		}
		_, first := os.Stat(filepath.Join(dir, "first"))
		_, second := os.Stat(filepath.Join(dir, "second"))
		if !errors.Is(first, os.ErrNotExist) || second != nil {
			t.Errorf("%v, %v", first, second)
		}
	})
}
