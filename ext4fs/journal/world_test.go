package journal

import (
	"context"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// world is a device of blocks with a journal among them or beside, and no file
// system.
type world struct {
	t      testing.TB
	bs     int
	blocks uint64
	kind   kind
	fc     bool
	dev    device.Writer // of the file system
	logDev device.Writer // of the log: dev, or another
	runs   []Run
	log    *WriteLog
	cache  *cache.Cache
	j      *Journal
	cfg    Config // of the next start
}

const (
	worldLog    = 1024 // blocks of the log
	worldBlocks = 400  // usable ones before the log
)

// wrapper stands between a world and its memory.
type wrapper func(device.Writer) device.Writer

// newWorld makes an empty journal.
func newWorld(t testing.TB, k kind, bs int, wrap wrapper) *world {
	t.Helper()
	w := &world{t: t, bs: bs, kind: k, blocks: worldBlocks + worldLog + 20}
	w.dev = device.NewRAM(int64(w.blocks) * int64(bs))
	// In three pieces, the last of which lies before the others.
	w.runs = []Run{
		{0, worldBlocks + 20, 300}, {300, worldBlocks + 330, worldLog - 310}, {worldLog - 10, worldBlocks, 10},
	}
	w.logDev = w.dev
	w.format()
	if wrap != nil {
		w.dev = wrap(w.dev)
		w.logDev = w.dev
	}
	w.open()
	return w
}

// format writes an empty journal superblock, as mkfs does: without features.
func (w *world) format() {
	sb := disk.JournalSuperblock{
		Type: disk.JournalSuperblockV2, BlockSize: uint32(w.bs), MaxLen: worldLog, First: 1, Sequence: 1,
		UUID: [16]byte{7, 8, 9}, NrUsers: 1,
	}
	if w.fc {
		sb.Incompat |= disk.JournalIncompatFastCommit
		sb.NumFastBlocks = 16
	}
	b := make([]byte, w.bs)
	sb.Encode(b)
	if _, err := w.logDev.WriteAt(b, int64(w.runs[0].Physical)*int64(w.bs)); err != nil {
		w.t.Fatal(err)
	}
}

// config is for the kind of log.
func (w *world) config() Config {
	c := w.cfg
	c.Cache, c.Device, c.Log = w.cache, w.dev, w.log
	c.FSBlocks = worldBlocks
	if c.Interval == 0 {
		c.Interval = -1
	}
	c.FastCommit = w.fc
	c.Bits64 = w.kind.incompat.Has(disk.JournalIncompat64bit)
	switch {
	case w.kind.compat.Has(disk.JournalCompatChecksum):
		c.Checksum = ChecksumV1
	case w.kind.incompat.Has(disk.JournalIncompatCsumV2):
		c.Checksum = ChecksumV2
	case w.kind.incompat.Has(disk.JournalIncompatCsumV3):
		c.Checksum = ChecksumV3
	}
	return c
}

// open makes cache and log anew, as after a crash.
func (w *world) open() {
	w.t.Helper()
	w.cache = cache.New(w.dev, w.bs, w.blocks, cache.Options{})
	log, err := NewInternalWriter(w.logDev, w.bs, w.runs)
	if err != nil {
		w.t.Fatal(err)
	}
	w.log = log
}

func (w *world) start() *Journal {
	w.t.Helper()
	j, err := Start(w.config())
	if err != nil {
		w.t.Fatal(err)
	}
	w.j = j
	w.t.Cleanup(func() {
		j.Abort(nil)
		_ = j.Close(context.Background())
	})
	return j
}

func (w *world) begin(credits int) *Handle {
	w.t.Helper()
	h, err := w.j.Begin(context.Background(), credits)
	if err != nil {
		w.t.Fatal(err)
	}
	return h
}

// change begins, fills blocks, ends, and returns the transaction.
func (w *world) change(v uint64, blocks ...disk.BlockNum) uint32 {
	w.t.Helper()
	h := w.begin(len(blocks))
	for _, bn := range blocks {
		b, err := h.Write(bn, testSealer{})
		if err != nil {
			w.t.Fatal(err)
		}
		put(b.Data(), v)
	}
	return w.end(h)
}

func (w *world) end(h *Handle) uint32 {
	w.t.Helper()
	id := h.ID()
	if err := h.End(); err != nil {
		w.t.Fatal(err)
	}
	return id
}

func (w *world) commit(id uint32) {
	w.t.Helper()
	if err := w.j.Commit(context.Background(), id); err != nil {
		w.t.Fatal(err)
	}
}

// hold holds the running transaction.
func (w *world) hold() (release func()) {
	release, err := w.j.Hold(context.Background())
	if err != nil {
		w.t.Errorf("hold: %v", err)
		return func() {}
	}
	return release
}

// load reads the log as recovery would.
func (w *world) load() *Recovery {
	w.t.Helper()
	rec, err := Load(context.Background(), w.log, Options{BlockSize: w.bs, FSBlocks: w.blocks, NeedsRecovery: true})
	if err != nil {
		w.t.Fatal(err)
	}
	return rec
}

// expect compares blocks of a device with what put has put there; v = 0 is a
// block of zeros.
func (w *world) expect(d device.Device, v uint64, blocks ...disk.BlockNum) {
	w.t.Helper()
	b := make([]byte, w.bs)
	for _, bn := range blocks {
		if _, err := d.ReadAt(b, int64(bn)*int64(w.bs)); err != nil {
			w.t.Fatal(err)
		}
		got, err := value(b)
		if err != nil || got != v {
			w.t.Errorf("block %d holds %d (%v), want %d", bn, got, err, v)
		}
	}
}

// put makes the content of a block from a number. Each third begins as a
// block of the log does.
func put(b []byte, v uint64) {
	end := len(b) - 4
	for i := 0; i+8 <= end; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], v+uint64(i))
	}
	binary.LittleEndian.PutUint64(b[8:], v)
	if v%3 == 0 {
		disk.Unescape(b)
	}
}

// value is the number that put was given. The block must be sealed.
func value(b []byte) (uint64, error) {
	v := binary.LittleEndian.Uint64(b[8:])
	if v == 0 && allZeros(b) {
		return 0, nil
	}
	want := make([]byte, len(b))
	put(want, v)
	testSealer{}.Seal(0, want, nil)
	if string(want) != string(b) {
		return v, errUnsealed
	}
	return v, nil
}

func allZeros(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

type testError string

func (e testError) Error() string { return string(e) }

const errUnsealed = testError("not sealed, or of several versions")

// testSealer puts a checksum at the end of a block.
type testSealer struct{}

func (testSealer) Seal(_ disk.BlockNum, data []byte, _ func(disk.BlockNum) []byte) {
	end := len(data) - 4
	binary.LittleEndian.PutUint32(data[end:], crc32.ChecksumIEEE(data[:end]))
}

// valueOf is what put was given, of a block that may not be sealed.
func valueOf(b []byte) uint64 { return binary.LittleEndian.Uint64(b[8:]) }
