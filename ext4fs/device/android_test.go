package device

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

func TestAndroidSparse_reads(t *testing.T) {
	sparse, expanded := testSparse()
	a, err := NewAndroidSparse(NewMemory(sparse))
	if err != nil {
		t.Fatal(err)
	}
	testReads(t, a, expanded)
	// Every alignment of a fill pattern.
	for off := range 9 {
		for n := range 9 {
			p := make([]byte, n)
			at := 8*4096 + off
			if _, err := a.ReadAt(p, int64(at)); err != nil || !bytes.Equal(p, expanded[at:at+n]) {
				t.Errorf("%d bytes of a fill at %d: %q, %v", n, off, p, err)
			}
		}
	}
	if len(a.pieces) != 4 {
		t.Errorf("%d pieces: zeros and equal neighbours need none", len(a.pieces))
	}
}

func TestAndroidSparse_largerHeaders(t *testing.T) {
	b := make([]byte, 32)
	le.PutUint32(b[0:], androidMagic)
	le.PutUint16(b[4:], 1)
	le.PutUint16(b[8:], 32)
	le.PutUint16(b[10:], 16)
	le.PutUint32(b[12:], 4)
	le.PutUint32(b[16:], 2)
	le.PutUint32(b[20:], 1)
	h := make([]byte, 16)
	le.PutUint16(h[0:], androidRaw)
	le.PutUint32(h[4:], 2)
	le.PutUint32(h[8:], 16+8)
	b = append(append(b, h...), "abcdefgh"...)
	a, err := NewAndroidSparse(NewMemory(b))
	if err != nil {
		t.Fatal(err)
	}
	testReads(t, a, []byte("abcdefgh"))
}

func TestAndroidSparse_hostRange(t *testing.T) {
	sparse, expanded := testSparse()
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(sparse); err != nil {
		t.Fatal(err)
	}
	a, err := NewAndroidSparse(&hostFile{f: f, size: int64(len(sparse))})
	if err != nil {
		t.Fatal(err)
	}
	mapped := 0
	for off := int64(0); off < a.Size(); off += 1024 {
		got, at, n := a.HostRange(off, 1<<20)
		if got == nil {
			continue
		}
		mapped++
		p := make([]byte, n)
		if _, err := got.ReadAt(p, at); err != nil || !bytes.Equal(p, expanded[off:off+n]) {
			t.Errorf("range of %d at %d is wrong: %v", n, off, err)
		}
	}
	if mapped != 5*4 {
		t.Errorf("%d of %d kilobytes of raw chunks are mapped", mapped, 5*4)
	}
}

func TestAndroidSparse_refusesDamage(t *testing.T) {
	good, _ := testSparse()
	const chunk1 = 28 + 12 + 3*4096 // header of the second chunk
	for _, tt := range []struct {
		name string
		at   int
		with []byte
	}{
		{"file header too small", 8, []byte{27, 0}},
		{"file header too large", 8, []byte{255, 255}},
		{"chunk header too small", 10, []byte{11, 0}},
		{"block size 0", 12, []byte{0, 0, 0, 0}},
		{"block size odd", 12, []byte{2, 16, 0, 0}},
		{"block size huge", 12, []byte{0, 0, 0, 0xff}},
		{"more blocks than chunks", 16, []byte{99, 0, 0, 0}},
		{"fewer blocks than chunks", 16, []byte{3, 0, 0, 0}},
		{"many chunks", 20, []byte{255, 255, 255, 255}},
		{"fewer chunks", 20, []byte{3, 0, 0, 0}},
		{"one more chunk", 20, []byte{11, 0, 0, 0}},
		{"unknown chunk", chunk1, []byte{0xc9}},
		{"skip with content", chunk1 + 8, []byte{16}},
		{"chunk smaller than its header", chunk1 + 8, []byte{11}},
		{"raw size wrong", 28 + 8, []byte{13}},
		{"huge chunk", chunk1 + 4, []byte{255, 255, 255, 255}},
	} {
		b := bytes.Clone(good)
		copy(b[tt.at:], tt.with)
		if _, err := NewAndroidSparse(NewMemory(b)); !errors.Is(err, disk.ErrCorrupt) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	b := bytes.Clone(good)
	b[4] = 2
	if _, err := NewAndroidSparse(NewMemory(b)); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("version 2: %v", err)
	}
	for n := 0; n < len(good); n += 1 + n/50 {
		_, err := NewAndroidSparse(NewMemory(good[:n]))
		if !errors.Is(err, disk.ErrCorrupt) {
			t.Fatalf("cut off at %d: %v", n, err)
		}
	}
}

// A raw chunk that is lost after the index was made is an early end.
func TestAndroidSparse_shrinks(t *testing.T) {
	good, _ := testSparse()
	short := NewReaderAt(bytes.NewReader(good[:len(good)-9000]), int64(len(good)))
	a := &AndroidSparse{d: short, size: 8192, pieces: []androidPiece{{size: 8192, src: int64(len(good)) - 9100}}}
	n, err := a.ReadAt(make([]byte, 8192), 0)
	if n != 100 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%d, %v", n, err)
	}
}

func TestAndroidSparse_likeImg2simg(t *testing.T) {
	RequireTool(t, "img2simg")
	dir := t.TempDir()
	img := testImage()
	img = append(img, make([]byte, -len(img)&4095)...)
	copy(img[500_000:], bytes.Repeat([]byte("fill"), 20_000))
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	if err := os.WriteFile(in, img, 0o600); err != nil {
		t.Fatal(err)
	}
	if msg, err := exec.Command("img2simg", in, out).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, msg)
	}
	m, err := Open(out, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if len(m.Containers()) != 1 {
		t.Fatalf("containers %v", m.Containers())
	}
	testReads(t, m, img)
}

func FuzzAndroidSparse(f *testing.F) {
	f.Add(smallSparse())
	f.Add(smallSparse()[:100])
	f.Add(makeSparse(4, sparseChunk{androidFill, 1 << 30, []byte("abcd")}))
	f.Add(makeSparse(1024, sparseChunk{androidSkip, 1<<32 - 1, nil}))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := NewAndroidSparse(NewMemory(b))
		if err != nil {
			return
		}
		// Reads in one piece and in small ones must agree.
		whole := make([]byte, min(a.Size(), 1<<16))
		if n, err := a.ReadAt(whole, 0); n != len(whole) {
			t.Fatalf("read %d of %d: %v", n, len(whole), err)
		}
		small := make([]byte, 0, len(whole))
		p := make([]byte, 13)
		for off := 0; off < len(whole); off += len(p) {
			n, _ := a.ReadAt(p[:min(len(p), len(whole)-off)], int64(off))
			small = append(small, p[:n]...)
		}
		if !bytes.Equal(whole, small) {
			t.Fatal("small reads differ")
		}
		if _, err := a.ReadAt(p, max(a.Size()-20, 0)); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		a.HostRange(0, 100)
	})
}
