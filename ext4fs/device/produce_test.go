package device

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// patchy is a device of noise, zeros that were written, filled blocks and
// holes.
func patchy(seed uint64, size int64) *RAM {
	r := rand.New(rand.NewPCG(seed, 0))
	d := NewRAM(size)
	for at := int64(0); at < size; {
		n := min(1+r.Int64N(40000), size-at)
		b := make([]byte, n)
		switch r.IntN(5) {
		case 0:
			b = noise(byte(r.IntN(256)), int(n))
		case 1:
			b = bytes.Repeat([]byte("fill"), int(n/4+1))[:n]
		case 2: // zeros
		default:
			at += 3 * n
			continue
		}
		d.WriteAt(b, at)
		at += n
	}
	return d
}

func content(t testing.TB, d Device) []byte {
	t.Helper()
	b := make([]byte, d.Size())
	if n, err := d.ReadAt(b, 0); n < len(b) {
		t.Fatal(err)
	}
	return b
}

// sparseRanges are the ranges of data that NextData gives, which must be in
// order, and hold all that is not zero.
func sparseRanges(t testing.TB, d Device) (list []Range) {
	t.Helper()
	all := content(t, d)
	at := int64(0)
	for {
		r, err := NextData(d, at)
		if err != nil {
			t.Fatal(err)
		}
		if r.N == 0 {
			r.Off = d.Size()
		}
		if r.Off < at || r.End() > d.Size() || !allZero(all[at:r.Off]) {
			t.Fatalf("behind %d: %+v", at, r)
		}
		if r.N == 0 {
			return list
		}
		list = append(list, r)
		at = r.End()
	}
}

func TestNextData(t *testing.T) {
	for seed := range uint64(8) {
		d := patchy(seed, 1<<20+int64(seed)*777)
		list := sparseRanges(t, d)
		n := int64(0)
		for _, r := range list {
			n += r.N
		}
		if n == 0 || n > d.Size()*3/4 {
			t.Errorf("%d bytes of %d are data", n, d.Size())
		}
		win, err := NewWindow(d, 12345, 300_000)
		if err != nil {
			t.Fatal(err)
		}
		sparseRanges(t, win)
		writer, err := NewWriterWindow(d, 12345, 300_000)
		if err != nil {
			t.Fatal(err)
		}
		sparseRanges(t, writer)
		if r, err := NextData(d, d.Size()+5); err != nil || r.N != 0 {
			t.Errorf("%+v, %v", r, err)
		}
		sparseRanges(t, NewOverlay(d))
		sparseRanges(t, NewMemory(content(t, d)))
		sparseRanges(t, NewReaderAt(bytes.NewReader(content(t, d)), d.Size()))
	}
	if _, err := NextData(NewRAM(5), -1); err == nil {
		t.Error("a negative offset")
	}
	if list := sparseRanges(t, NewRAM(1<<20)); len(list) != 0 {
		t.Error(list)
	}
}

func TestNextData_file(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sparse")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.WriteAt(noise(1, 5000), 1<<20)
	f.WriteAt(noise(2, 5000), 5<<20)
	f.Truncate(8 << 20)
	m, err := Open(path, Options{NoContainers: true})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	list := sparseRanges(t, m)
	part, err := NewWindow(m, 2<<20, 4<<20)
	if err != nil {
		t.Fatal(err)
	}
	sparseRanges(t, part)
	if _, _, err := seekData(f, 0, 1); !errors.Is(err, errNoHoles) && (len(list) != 2 || list[0].Off != 1<<20) {
		t.Errorf("%+v", list)
	}
}

func TestCRC(t *testing.T) {
	for _, n := range []int{0, 1, 2, 7, 64, 4096, 100_001} {
		b := noise(3, 2*n+5)
		if got := crcJoin(crc32.ChecksumIEEE(b[:n]), crc32.ChecksumIEEE(b[n:]), int64(len(b)-n)); got != crc32.ChecksumIEEE(b) {
			t.Errorf("%d bytes: %08x", n, got)
		}
		if got := crcZeros(int64(n)); got != crc32.ChecksumIEEE(make([]byte, n)) {
			t.Errorf("%d zeros: %08x", n, got)
		}
	}
}

// androidCRCOf finds the checksum chunk at the end of a sparse image.
func androidCRCOf(b []byte) (uint32, bool) {
	e := b[len(b)-16:]
	return le.Uint32(e[12:]), le.Uint16(e) == androidCRC
}

func TestWriteAndroidSparse(t *testing.T) {
	for seed := range uint64(12) {
		d := patchy(seed, 1<<20+int64(seed%3)*1234)
		want := content(t, d)
		for _, o := range []AndroidOptions{{}, {CRC: true}, {SkipHoles: true, CRC: true}, {BlockSize: 1024}, {BlockSize: 65536, CRC: true},
			{Ranges: []Range{{0, d.Size()}}}, {Ranges: sparseRanges(t, d), SkipHoles: true}} {
			var out bytes.Buffer
			if err := WriteAndroidSparse(context.Background(), &out, d, o); err != nil {
				t.Fatal(err)
			}
			a, err := NewAndroidSparse(NewMemory(out.Bytes()))
			if err != nil {
				t.Fatal(err)
			}
			got := content(t, a)
			if len(got)-len(want) >= 65536 || !bytes.Equal(got[:len(want)], want) || !allZero(got[len(want):]) {
				t.Fatalf("seed %d, %+v: other content", seed, o)
			}
			sum, ok := androidCRCOf(out.Bytes())
			if ok != o.CRC || ok && sum != crc32.ChecksumIEEE(got) {
				t.Errorf("seed %d, %+v: checksum %08x", seed, o, sum)
			}
			if out.Len() > len(want)*4/5 && o.Ranges == nil && o.BlockSize < 4097 {
				t.Errorf("seed %d, %+v: %d bytes of %d", seed, o, out.Len(), len(want))
			}
		}
	}
}

func TestWriteAndroidSparse_kinds(t *testing.T) {
	d := NewRAM(10 * 4096)
	d.WriteAt(noise(1, 4096), 4096)
	d.WriteAt(bytes.Repeat([]byte("abcd"), 2048), 3*4096)
	d.WriteAt(make([]byte, 4096), 6*4096)
	for skip, want := range map[bool]string{true: "cac3 1;cac1 1;cac3 1;cac2 2;cac3 1;cac2 1;cac3 3;", false: "cac2 1;cac1 1;cac2 1;cac2 2;cac2 5;"} {
		var out bytes.Buffer
		if err := WriteAndroidSparse(context.Background(), &out, d, AndroidOptions{SkipHoles: skip}); err != nil {
			t.Fatal(err)
		}
		got := ""
		for b := out.Bytes()[androidHeaderSize:]; len(b) > 0; b = b[le.Uint32(b[8:]):] {
			got += fmt.Sprintf("%x %d;", le.Uint16(b), le.Uint32(b[4:]))
		}
		if got != want {
			t.Errorf("skip %v: %s instead of %s", skip, got, want)
		}
	}
}

// TestWriteAndroidSparse_huge: holes cost nothing.
func TestWriteAndroidSparse_huge(t *testing.T) {
	d := NewRAM(1 << 42)
	d.WriteAt(noise(1, 70_000), 1<<41)
	for _, o := range []AndroidOptions{{CRC: true}, {CRC: true, SkipHoles: true}} {
		var out bytes.Buffer
		if err := WriteAndroidSparse(context.Background(), &out, d, o); err != nil || out.Len() > 80_000 {
			t.Fatalf("%d bytes, %v", out.Len(), err)
		}
	}
	if err := WriteAndroidSparse(context.Background(), io.Discard, NewRAM(1<<45), AndroidOptions{}); !errors.Is(err, disk.ErrUnsupported) {
		t.Error(err)
	}
}

func TestWriteAndroidSparse_simg2img(t *testing.T) {
	RequireTool(t, "simg2img")
	for seed := range uint64(3) {
		d := patchy(seed, 3<<20)
		for _, o := range []AndroidOptions{{}, {CRC: true, SkipHoles: true}} {
			dir := t.TempDir()
			f, err := os.Create(dir + "/sparse")
			if err != nil {
				t.Fatal(err)
			}
			if err := WriteAndroidSparse(context.Background(), f, d, o); err != nil {
				t.Fatal(err)
			}
			f.Close()
			if out, err := exec.Command("simg2img", dir+"/sparse", dir+"/raw").CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			got, err := os.ReadFile(dir + "/raw")
			if err != nil || !bytes.Equal(got, content(t, d)) {
				t.Errorf("seed %d: simg2img gives other content, %v", seed, err)
			}
		}
	}
}

// breaking is a device or stream that fails after some bytes.
type breaking struct {
	Device
	left int
}

var errBroken = errors.New("broken")

func (f *breaking) ReadAt(p []byte, off int64) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errBroken
	}
	return f.Device.ReadAt(p, off)
}

func (f *breaking) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errBroken
	}
	return len(p), nil
}

func TestProduce_errors(t *testing.T) {
	d := NewMemory(noise(1, 9<<20))
	stopped, cancel := context.WithCancel(context.Background())
	cancel()
	for name, write := range map[string]func(ctx context.Context, w io.Writer, d Device, r []Range) error{
		"android": func(ctx context.Context, w io.Writer, d Device, r []Range) error {
			return WriteAndroidSparse(ctx, w, d, AndroidOptions{Ranges: r})
		},
		"gzip": func(ctx context.Context, w io.Writer, d Device, r []Range) error {
			return WriteCompressed(ctx, w, d, CompressOptions{Format: Gzip, Ranges: r, Level: 1})
		},
		"zstd": func(ctx context.Context, w io.Writer, d Device, r []Range) error {
			return WriteCompressed(ctx, w, d, CompressOptions{Format: Zstd, Ranges: r, Level: 1, Workers: 1})
		},
	} {
		ctx := context.Background()
		if err := write(ctx, io.Discard, d, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, left := range []int{0, 11, 1 << 20, 5 << 20} {
			if err := write(ctx, &breaking{left: left}, d, nil); !errors.Is(err, errBroken) {
				t.Errorf("%s: write after %d bytes: %v", name, left, err)
			}
			one := &breaking{Device: d, left: left}
			if name == "gzip" {
				continue // its workers read at the same time
			}
			if err := write(ctx, io.Discard, one, nil); !errors.Is(err, errBroken) {
				t.Errorf("%s: read after %d bytes: %v", name, left, err)
			}
		}
		if err := write(stopped, io.Discard, d, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: cancelled: %v", name, err)
		}
		for _, bad := range [][]Range{{{-1, 5}}, {{0, 10 << 20}}, {{5, 5}, {0, 5}}, {{0, -1}}, {{1 << 62, 1 << 62}}} {
			var want *RangeError
			if err := write(ctx, io.Discard, d, bad); !errors.As(err, &want) {
				t.Errorf("%s: ranges %v: %v", name, bad, err)
			}
		}
	}
}

func TestWriteCompressed(t *testing.T) {
	for _, format := range []Compression{Gzip, Zstd} {
		for _, size := range []int64{0, 1, 5000, 1 << 20, 4 << 20, 9<<20 + 5} {
			for _, level := range []int{0, 1, 9} {
				if level == 9 && size != 1<<20 {
					continue
				}
				d := patchy(uint64(size), size)
				var first []byte
				for _, o := range []CompressOptions{{Workers: 1}, {Workers: 7}, {Workers: 3, Ranges: []Range{{0, size}}}} {
					o.Format, o.Level = format, level
					var out bytes.Buffer
					last := int64(-1)
					o.Progress = func(done, total int64) {
						if done <= last || total != size {
							t.Errorf("progress %d of %d after %d", done, total, last)
						}
						last = done
					}
					if err := WriteCompressed(context.Background(), &out, d, o); err != nil {
						t.Fatal(err)
					}
					if first == nil {
						first = bytes.Clone(out.Bytes())
					}
					if !bytes.Equal(out.Bytes(), first) {
						t.Errorf("%v, %d bytes, level %d: other bytes", format, size, level)
					}
				}
				compareCompressed(t, format, first, d)
				if level == 1 {
					compareProgram(t, format, first, d)
				}
			}
		}
		for _, level := range []int{-1, 23} {
			if err := WriteCompressed(context.Background(), io.Discard, NewRAM(1), CompressOptions{Format: format, Level: level}); !errors.Is(err, disk.ErrUnsupported) {
				t.Error(err)
			}
		}
	}
	if err := WriteCompressed(context.Background(), io.Discard, NewRAM(1), CompressOptions{}); !errors.Is(err, disk.ErrUnsupported) {
		t.Error(err)
	}
}

// compareCompressed undoes it with the package's readers.
func compareCompressed(t *testing.T, format Compression, b []byte, d Device) {
	t.Helper()
	open := newGzip
	if format == Zstd {
		open = newZstd
	}
	r, err := open(&countingReader{r: bytes.NewReader(b), ctx: context.Background()})
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, content(t, d)) {
		t.Errorf("%v: %d bytes of %d, %v", format, len(got), d.Size(), err)
	}
}

// compareProgram undoes it with the program of that name.
func compareProgram(t *testing.T, format Compression, b []byte, d Device) {
	t.Helper()
	program, err := exec.LookPath(format.String())
	if err != nil {
		return
	}
	cmd := exec.Command(program, "-dc")
	cmd.Stdin = bytes.NewReader(b)
	got, err := cmd.Output()
	if err != nil || !bytes.Equal(got, content(t, d)) {
		t.Errorf("%s: %d bytes of %d, %v", program, len(got), d.Size(), err)
	}
}

// TestWriteCompressed_holes: zeros are compressed once.
func TestWriteCompressed_holes(t *testing.T) {
	d := NewRAM(64 << 30)
	d.WriteAt(noise(1, 100_000), 40<<30)
	for _, format := range []Compression{Gzip, Zstd} {
		n := new(byteCount)
		if err := WriteCompressed(context.Background(), n, d, CompressOptions{Format: format}); err != nil || *n < 100_000 || *n > 200<<20 {
			t.Errorf("%v: %d bytes, %v", format, *n, err)
		}
	}
}

type byteCount int64

func (c *byteCount) Write(p []byte) (int, error) {
	*c += byteCount(len(p))
	return len(p), nil
}

var (
	guidA = GUID{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0x4d, 0xef, 0x80, 1, 2, 3, 4, 5, 6, 7}
	guidB = GUID{0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x42, 0x10, 0x80, 7, 6, 5, 4, 3, 2, 1}
)

// TestWriteTable writes tables that the package's reader, and the kernel's
// tools, find as they were meant.
func TestWriteTable(t *testing.T) {
	for _, o := range []TableOptions{
		{Scheme: SchemeGPT, Payload: 8 << 20, Name: "rootfs"},
		{Scheme: SchemeGPT, Payload: 5<<20 + 1024, Bootable: true, Name: "Größe-𝄞"},
		{Scheme: SchemeGPT, Payload: 8 << 20, SectorSize: 4096},
		{Scheme: SchemeGPT, Payload: 1 << 40, Align: 4 << 20},
		{Scheme: SchemeGPT, Payload: 3 << 20, Align: 512},
		{Scheme: SchemeMBR, Payload: 8 << 20, DiskID: 0x12345678},
		{Scheme: SchemeMBR, Payload: 1 << 40, DiskID: 1, Bootable: true, Kind: 0x0c},
	} {
		o.Disk, o.Partition = guidA, guidB
		l, err := o.Layout()
		if err != nil {
			t.Fatal(err)
		}
		for _, more := range []int64{0, 777 * 4096} {
			d := NewRAM(l.Size + more)
			if err := WriteTable(d, o); err != nil {
				t.Fatal(err)
			}
			checkTable(t, d, o, l)
			if o.Scheme == SchemeGPT { // the backup is as good
				d.WriteAt(make([]byte, 8192), 512)
				if o.SectorSize == 0 {
					checkTable(t, d, o, l)
				}
			}
		}
	}
}

func checkTable(t *testing.T, d Device, o TableOptions, l TableLayout) {
	t.Helper()
	parts, scheme, err := Partitions(sectored{d, max(o.SectorSize, 512)})
	if err != nil || scheme != o.Scheme || len(parts) != 1 {
		t.Fatalf("%v, %v, %v", parts, scheme, err)
	}
	p := parts[0]
	wantType, wantUUID := LinuxDataGUID, guidB.String()
	if o.Scheme == SchemeMBR {
		wantType, wantUUID = fmt.Sprintf("0x%02x", max(o.Kind, 0)), fmt.Sprintf("%08x-01", o.DiskID)
		if o.Kind == 0 {
			wantType = "0x83"
		}
	}
	if p.Number != 1 || p.Offset != l.Offset || p.Size != l.Payload || p.Type != wantType || p.UUID != wantUUID || p.Name != o.Name {
		t.Errorf("%+v", p)
	}
	align := o.Align
	if align == 0 {
		align = 1 << 20
	}
	if l.Offset%align != 0 || l.Size%align != 0 || l.Payload < o.Payload || l.Payload-o.Payload >= 4096 {
		t.Errorf("%+v for %+v", l, o)
	}
}

// sectored is a device with a sector size.
type sectored struct {
	Device
	size int
}

func (s sectored) sectorSize() int { return s.size }

func TestWriteTable_tools(t *testing.T) {
	RequireTool(t, "sfdisk", "fdisk")
	for _, o := range []TableOptions{
		{Scheme: SchemeGPT, Payload: 8 << 20, Name: "root fs", Bootable: true, Disk: guidA, Partition: guidB},
		{Scheme: SchemeMBR, Payload: 8 << 20, DiskID: 0x12345678, Bootable: true},
	} {
		l, err := o.Layout()
		if err != nil {
			t.Fatal(err)
		}
		d := NewRAM(l.Size)
		if err := WriteTable(d, o); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "disk")
		if err := os.WriteFile(path, content(t, d), 0o644); err != nil {
			t.Fatal(err)
		}
		verify, err := exec.Command("sfdisk", "--verify", path).CombinedOutput()
		if err != nil || !strings.Contains(string(verify), "No errors detected") {
			t.Errorf("%v: %s", err, verify)
		}
		dump, err := exec.Command("sfdisk", "--dump", path).CombinedOutput()
		wants := []string{"label: gpt", "label-id: 01234567-89AB-4DEF-8001-020304050607", "first-lba: 34", "start=        2048, size=       16384",
			"type=0FC63DAF-8483-4772-8E79-3D69D8477DE4", "uuid=FEDCBA98-7654-4210-8007-060504030201", `name="root fs"`, "LegacyBIOSBootable"}
		if o.Scheme == SchemeMBR {
			wants = []string{"label: dos", "label-id: 0x12345678", "start=        2048, size=       16384", "type=83", "bootable"}
		}
		for _, want := range wants {
			if !strings.Contains(string(dump), want) {
				t.Errorf("no %q: %v\n%s", want, err, dump)
			}
		}
		list, err := exec.Command("fdisk", "-l", path).CombinedOutput()
		if err != nil || strings.Contains(string(list), "corrupt") || strings.Contains(string(list), "boundary") {
			t.Errorf("%v: %s", err, list)
		}
	}
	types, err := exec.Command("sfdisk", "--label", "gpt", "-T").Output()
	if err != nil {
		t.Fatal(err)
	}
	for arch, id := range rootGUIDs {
		line := ""
		for s := range strings.Lines(string(types)) {
			if strings.HasPrefix(s, strings.ToUpper(id)) {
				line = s
			}
		}
		// Older ones do not know all.
		if line != "" && !strings.Contains(line, "Linux root") {
			t.Errorf("%s: sfdisk calls it %q", arch, line)
		}
	}
}

func TestWriteTable_refuses(t *testing.T) {
	good := TableOptions{Scheme: SchemeMBR, Payload: 1 << 20}
	for name, change := range map[string]func(o *TableOptions){
		"scheme":  func(o *TableOptions) { o.Scheme = SchemeNone },
		"payload": func(o *TableOptions) { o.Payload = 0 },
		"huge":    func(o *TableOptions) { o.Payload = 1<<63 - 1 },
		"sector":  func(o *TableOptions) { o.SectorSize = 520 },
		"align":   func(o *TableOptions) { o.Align = 1000 },
		"name":    func(o *TableOptions) { o.Name = strings.Repeat("n", 37) },
		"mbr":     func(o *TableOptions) { o.Payload = 2 << 40 },
	} {
		o := good
		change(&o)
		if _, err := o.Layout(); !errors.Is(err, disk.ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
		if err := WriteTable(NewRAM(1<<30), o); err == nil {
			t.Errorf("%s was written", name)
		}
	}
	var want *RangeError
	if err := WriteTable(NewRAM(1<<20), good); !errors.As(err, &want) {
		t.Error(err)
	}
}

func TestGUID(t *testing.T) {
	g, err := ParseGUID(strings.ToUpper(LinuxDataGUID))
	if err != nil || g.String() != LinuxDataGUID {
		t.Error(g, err)
	}
	for _, bad := range []string{"", LinuxDataGUID[1:], LinuxDataGUID + "0", strings.Replace(LinuxDataGUID, "-", "0", 1), "g" + LinuxDataGUID[1:],
		"0fc63da-f8483-4772-8e79-3d69d8477de4"} {
		if _, err := ParseGUID(bad); !errors.Is(err, ErrGUID) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for arch, want := range map[string]string{"x86_64": "amd64", "amd64": "amd64", "AARCH64": "arm64", "i686": "386", "ppc64el": "ppc64le"} {
		if g, ok := RootGUID(arch); !ok || g != rootGUIDs[want] {
			t.Errorf("%s: %s", arch, g)
		}
	}
	if _, ok := RootGUID("z80"); ok {
		t.Error("z80")
	}
	for arch, id := range rootGUIDs {
		if _, err := ParseGUID(id); err != nil {
			t.Errorf("%s: %v", arch, err)
		}
	}
}

// BenchmarkProduce writes an image of which a third is data.
func BenchmarkProduce(b *testing.B) {
	d := patchy(1, 64<<20)
	for name, write := range map[string]func(w io.Writer) error{
		"android": func(w io.Writer) error { return WriteAndroidSparse(context.Background(), w, d, AndroidOptions{}) },
		"gzip": func(w io.Writer) error {
			return WriteCompressed(context.Background(), w, d, CompressOptions{Format: Gzip})
		},
		"zstd": func(w io.Writer) error {
			return WriteCompressed(context.Background(), w, d, CompressOptions{Format: Zstd})
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(d.Size())
			for b.Loop() {
				if err := write(io.Discard); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
