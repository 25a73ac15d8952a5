package device

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// compress packs b; the formats are those of containers.
func compress(t testing.TB, format string, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	var err error
	switch format {
	case "gzip":
		w, err = gzip.NewWriterLevel(&out, 1)
	case "zstd":
		w, err = zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
	case "xz":
		w, err = xz.WriterConfig{DictCap: 1 << 16, BlockSize: 200_000}.NewWriter(&out)
	case androidFormat:
		return makeSparse(512, sparseChunk{androidRaw, uint32(len(b) / 512), b})
	}
	if err == nil {
		_, err = w.Write(b)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

var streamFormats = []string{"gzip", "zstd", "xz"}

// openMemory undoes the containers of b and checks the content, and that
// nothing is left of temporary files.
func openMemory(t testing.TB, b []byte, o Options) (Device, []string, error) {
	t.Helper()
	dir := t.TempDir()
	o.TempDir = dir
	d, names, closer, err := undo(t.Context(), NewMemory(b), &o)
	if left, _ := os.ReadDir(dir); len(left) != 0 && runtimeUnix {
		t.Errorf("temporary file %s has a name", left[0].Name())
	}
	if closer != nil {
		t.Cleanup(func() {
			if err := closer.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return d, names, err
}

const runtimeUnix = os.PathSeparator == '/'

func TestUndo_everyFormat(t *testing.T) {
	img := testImage()
	for _, format := range append(streamFormats, androidFormat) {
		packed := compress(t, format, img)
		for _, memory := range []int64{0, -1, 50_000} {
			t.Run(fmt.Sprint(format, " memory ", memory), func(t *testing.T) {
				d, names, err := openMemory(t, packed, Options{MemoryBytes: memory})
				if err != nil || len(names) != 1 || names[0] != format {
					t.Fatalf("%v, %v", names, err)
				}
				testReads(t, d, img)
				st, inMemory := d.(*store)
				if format != androidFormat && inMemory != (memory == 0) {
					t.Errorf("in memory: %v", inMemory)
				}
				if inMemory && st.stored > 150_000 {
					t.Errorf("%d bytes stored: zeros too", st.stored)
				}
			})
		}
	}
}

func TestUndo_nesting(t *testing.T) {
	img := testImage()
	pack := func(formats ...string) []byte {
		b := img
		for _, f := range formats {
			b = compress(t, f, b)
		}
		return b
	}
	for _, tt := range []struct {
		inner []string // first applied first
		names string
		plain bool
	}{
		{[]string{androidFormat, "gzip"}, "[gzip Android sparse]", true},
		{[]string{androidFormat, "zstd"}, "[zstd Android sparse]", true},
		{[]string{"gzip", "xz"}, "[xz gzip]", true},
		{[]string{"gzip", "gzip", "gzip"}, "[gzip gzip]", false},
	} {
		for _, memory := range []int64{0, -1} {
			d, names, err := openMemory(t, pack(tt.inner...), Options{MemoryBytes: memory})
			if err != nil || fmt.Sprint(names) != tt.names {
				t.Errorf("%v: %v, %v", tt.inner, names, err)
				continue
			}
			if tt.plain {
				testReads(t, d, img)
			}
		}
	}
	if _, names, _ := openMemory(t, pack("gzip"), Options{NoContainers: true}); len(names) != 0 {
		t.Errorf("undone although not wanted: %v", names)
	}
}

// An image whose boot block begins like a container is still an image.
func TestRecognise_extWins(t *testing.T) {
	for _, magic := range []string{"\x1f\x8b\x08\x00", "\x28\xb5\x2f\xfd", "\xfd7zXZ\x00", "\x3a\xff\x26\xed\x01\x00"} {
		b := make([]byte, 8192)
		copy(b, magic)
		if recognise(NewMemory(b)) == nil {
			t.Errorf("% x is not recognised", magic)
		}
		putExt(b)
		if c := recognise(NewMemory(b)); c != nil {
			t.Errorf("an ext image is taken for %s", c.name)
		}
	}
	for _, b := range [][]byte{nil, {0x1f}, {0x1f, 0x8b, 8}, []byte("\x1f\x8b\x08\xe0\x00\x00\x00\x00\x00\x00"), make([]byte, 2048)} {
		if c := recognise(NewMemory(b)); c != nil {
			t.Errorf("% x is taken for %s", b[:min(len(b), 10)], c.name)
		}
	}
}

func TestUndo_cutOff(t *testing.T) {
	img := testImage()[:120_000]
	for _, format := range streamFormats {
		packed := compress(t, format, img)
		for n := 16; n < len(packed); n += 1 + len(packed)/25 {
			_, _, err := openMemory(t, packed[:n], Options{})
			var fe *FormatError
			if !errors.As(err, &fe) || fe.Format != format || !errors.Is(err, io.ErrUnexpectedEOF) || !errors.Is(err, disk.ErrCorrupt) {
				t.Errorf("%s cut off at %d of %d: %v", format, n, len(packed), err)
			}
		}
		for n := len(packed) - 13; n < len(packed); n++ {
			if _, _, err := openMemory(t, packed[:n], Options{}); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s cut off at %d of %d: %v", format, n, len(packed), err)
			}
		}
	}
}

// A flipped byte is an error or changes nothing: a time stamp, say, or from
// which place a run of zeros is repeated.
func TestUndo_damage(t *testing.T) {
	img := testImage()[:40_000]
	for _, format := range streamFormats {
		packed := compress(t, format, img)
		for at := 0; at < len(packed); at += 1 + min(at, len(packed)-at)/20 {
			b := bytes.Clone(packed)
			b[at] ^= 0x55
			d, names, err := openMemory(t, b, Options{})
			switch {
			case err != nil:
				if !errors.Is(err, disk.ErrCorrupt) && !errors.Is(err, disk.ErrUnsupported) {
					t.Errorf("%s, byte %d: %v", format, at, err)
				}
			case len(names) == 1:
				testReads(t, d, img)
			}
		}
	}
}

func TestUndo_tail(t *testing.T) {
	img := testImage()
	for _, tt := range []struct {
		format string
		tail   []byte
		ok     bool
	}{
		{"gzip", make([]byte, 1000), true},
		{"gzip", []byte("garbage"), false},
		{"gzip", []byte{0, 0, 1}, false},
		{"zstd", []byte("garbage of some length"), false},
		{"zstd", []byte("\x50\x2a\x4d\x18\x04\x00\x00\x00skip"), true},
		{"xz", make([]byte, 1000), true},
		{"xz", make([]byte, 1001), false},
		{"xz", []byte("garbage of some length"), false},
	} {
		packed := append(compress(t, tt.format, img), tt.tail...)
		d, _, err := openMemory(t, packed, Options{})
		if tt.ok {
			if err != nil {
				t.Errorf("%s with %q: %v", tt.format, tt.tail, err)
				continue
			}
			testReads(t, d, img)
		} else if !errors.Is(err, disk.ErrCorrupt) {
			t.Errorf("%s with %q: %v", tt.format, tt.tail, err)
		}
	}
}

func TestUndo_severalMembers(t *testing.T) {
	img := testImage()
	for _, format := range streamFormats {
		packed := append(compress(t, format, img[:500_000]), compress(t, format, img[500_000:])...)
		d, _, err := openMemory(t, packed, Options{})
		if err != nil {
			t.Errorf("%s: %v", format, err)
			continue
		}
		testReads(t, d, img)
	}
}

func TestUndo_limits(t *testing.T) {
	img := testImage()
	packed := compress(t, "gzip", img)
	for _, memory := range []int64{0, -1} {
		_, _, err := openMemory(t, packed, Options{MemoryBytes: memory, MaxBytes: 50_000})
		var te *TooLargeError
		if !errors.As(err, &te) || te.Limit != 50_000 || !errors.Is(err, ErrTooLarge) {
			t.Errorf("limit: %v", err)
		}
	}
	if _, _, err := openMemory(t, packed, Options{MaxBytes: 200_000}); err != nil {
		t.Errorf("zeros count: %v", err)
	}
	// Zeros cost nothing, however many.
	d, _, err := openMemory(t, compress(t, "zstd", make([]byte, 100*mib)), Options{MaxBytes: 1})
	if err != nil || d.Size() != 100*mib {
		t.Errorf("a bomb of zeros: %v", err)
	}
	if st, ok := d.(*store); !ok || st.stored != 0 {
		t.Error("zeros were stored")
	}
}

func TestUndo_cancelAndProgress(t *testing.T) {
	packed := compress(t, "gzip", append(testImage(), noise(9, 4*mib)...))
	ctx, cancel := context.WithCancel(t.Context())
	var seen []ProgressInfo
	o := &Options{TempDir: t.TempDir(), Progress: func(p ProgressInfo) {
		seen = append(seen, p)
		if p.Done > 1*mib {
			cancel()
		}
	}}
	if _, _, _, err := undo(ctx, NewMemory(packed), o); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	last := int64(-1)
	for _, p := range seen {
		if p.Phase != "gzip" || p.Done <= last || p.Done > p.Total || p.Total != int64(len(packed)) {
			t.Errorf("%+v after %d", p, last)
		}
		last = p.Done
	}
	if len(seen) == 0 || last > 2*mib {
		t.Errorf("%d calls, the last at %d", len(seen), last)
	}
}

// What fails below is told as such, and is not called damage.
func TestUndo_readError(t *testing.T) {
	packed := compress(t, "zstd", noise(1, mib))
	broken := errors.New("broken sector")
	_, _, _, err := undo(t.Context(), brokenDevice{NewMemory(packed), broken}, &Options{})
	if !errors.Is(err, broken) || errors.Is(err, disk.ErrCorrupt) {
		t.Error(err)
	}
}

type brokenDevice struct {
	Device
	err error
}

func (b brokenDevice) ReadAt(p []byte, off int64) (int, error) {
	if off > 100_000 {
		return 0, b.err
	}
	return b.Device.ReadAt(p, off)
}

func TestUndo_realTools(t *testing.T) {
	img := testImage()
	for _, tt := range []struct {
		args string
		err  error
	}{
		{"gzip -c", nil},
		{"gzip -9c", nil},
		{"zstd -q -c", nil},
		{"zstd -q -c --no-check", nil},
		{"zstd -q -c -19 --long=27", nil},
		{"zstd -q -c --ultra -22 --long=28", disk.ErrUnsupported},
		{"xz -c", nil},
		{"xz -9ec", nil},
		{"xz -c --check=none", nil},
		{"xz -c --check=crc32", nil},
		{"xz -c --check=sha256 -T2 --block-size=100KiB", nil},
		{"xz -c --x86 --lzma2", disk.ErrUnsupported},
		{"xz -c --lzma2=dict=256MiB", disk.ErrUnsupported},
	} {
		t.Run(tt.args, func(t *testing.T) {
			args := strings.Fields(tt.args)
			RequireTool(t, args[0])
			cmd := exec.Command(args[0], args[1:]...)
			cmd.Stdin = bytes.NewReader(img) // a pipe: the size is not known
			packed, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			d, _, err := openMemory(t, packed, Options{})
			if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Fatal(err)
			}
			if err == nil {
				testReads(t, d, img)
			}
		})
	}
}

// The stores agree with each other on any pattern of zeros.
func TestStore_patterns(t *testing.T) {
	for seed := range byte(20) {
		r := noise(seed, 4000)
		var img []byte
		for i := 0; i+2 < 200; i += 2 {
			n := int(r[i]) * 100
			if r[i+1]&1 == 0 {
				img = append(img, make([]byte, n)...)
			} else {
				img = append(img, noise(r[i+1], n)...)
			}
		}
		for _, memory := range []int64{-1, 0, 100_000} {
			st := &store{format: "test", o: &Options{MemoryBytes: memory, TempDir: t.TempDir()}}
			for at := 0; at < len(img); at += chunk {
				if err := st.append(img[at:min(at+chunk, len(img))]); err != nil {
					t.Fatal(err)
				}
			}
			if err := st.finish(); err != nil {
				t.Fatal(err)
			}
			testReads(t, st.device(), img)
			st.Close()
		}
	}
}

func FuzzContainers(f *testing.F) {
	for _, format := range append(streamFormats, androidFormat) {
		f.Add(compress(f, format, testImage()[8192-512:8192+512]))
	}
	f.Add(compress(f, "gzip", smallSparse()))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, _, closer, err := undo(t.Context(), NewMemory(b), &Options{MaxBytes: 8 * mib})
		if err != nil {
			return
		}
		if n, err := d.ReadAt(make([]byte, 100), max(d.Size()-50, 0)); err != io.EOF {
			t.Errorf("%d, %v", n, err)
		}
		if closer != nil {
			closer.Close()
		}
	})
}

func BenchmarkExpand(b *testing.B) {
	// Half zeros, a quarter text, a quarter noise: like a file system.
	img := make([]byte, 64*mib)
	for at := 0; at < len(img); at += 4 * mib {
		copy(img[at:at+mib], bytes.Repeat([]byte("all work and no play makes Jack a dull boy\n"), mib/43))
		copy(img[at+mib:at+2*mib], noise(byte(at>>20), mib))
	}
	for _, format := range streamFormats {
		packed := compress(b, format, img)
		for name, memory := range map[string]int64{"memory": 1 << 30, "file": -1} {
			b.Run(format+"/"+name, func(b *testing.B) {
				b.SetBytes(int64(len(img)))
				for b.Loop() {
					_, _, closer, err := undo(b.Context(), NewMemory(packed), &Options{MemoryBytes: memory})
					if err != nil {
						b.Fatal(err)
					}
					closer.Close()
				}
			})
		}
	}
}
