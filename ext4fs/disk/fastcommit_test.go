package disk

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestFCRecord_roundTrip(t *testing.T) {
	for _, c := range []struct {
		rec  FCRecord
		want string
	}{
		{&FCAddRange{12, ExtentLeaf{Logical: 1, Len: 2, Physical: 0x5_0000_0006}}, "01001000" + "0c000000" + "01000000" + "02000500" + "06000000"},
		{&FCAddRange{12, ExtentLeaf{Logical: 1, Len: 2, Unwritten: true, Physical: 6}}, "01001000" + "0c000000" + "01000000" + "02800000" + "06000000"},
		{&FCAddRange{12, ExtentLeaf{Logical: 1, Len: MaxExtentLen, Physical: 6}}, "01001000" + "0c000000" + "01000000" + "00800000" + "06000000"},
		{&FCDelRange{12, 3, 4}, "02000c00" + "0c000000" + "03000000" + "04000000"},
		{&FCDirent{FCTagCreat, 2, 12, []byte("ab")}, "03000a00" + "02000000" + "0c000000" + "6162"},
		{&FCDirent{FCTagLink, 2, 12, []byte("a")}, "04000900" + "02000000" + "0c000000" + "61"},
		{&FCDirent{FCTagUnlink, 2, 12, []byte("a")}, "05000900" + "02000000" + "0c000000" + "61"},
		{&FCInode{12, bytes.Repeat([]byte{1}, 160)}, "0600a400" + "0c000000" + strings.Repeat("01", 160)},
		{&FCPad{3}, "07000300" + "000000"},
		{&FCTail{9, 0x11223344, 10}, "08000a00" + "09000000" + "44332211" + "0000"},
		{&FCHead{0, 9}, "09000800" + "00000000" + "09000000"},
	} {
		b := AppendFC(nil, c.rec)
		if got := hex.EncodeToString(b); got != c.want {
			t.Errorf("%v: %s, want %s", c.rec.Tag(), got, c.want)
		}
		n := 0
		for raw, err := range FCRecords(b) {
			if n++; err != nil {
				t.Fatal(err)
			}
			rec, err := raw.Decode()
			if err != nil || !reflect.DeepEqual(rec, c.rec) {
				t.Errorf("%v: decoded %+v, %v", c.rec.Tag(), rec, err)
			}
		}
		if n != 1 {
			t.Errorf("%v: %d records", c.rec.Tag(), n)
		}
	}
}

func TestFCRaw_decodeErrors(t *testing.T) {
	for _, in := range []string{
		"00000000",                                  // tag 0
		"0a000000",                                  // tag 10
		"01000f00" + strings.Repeat("00", 15),       // short range
		"01001100" + strings.Repeat("00", 17),       // long range
		"02000b00" + strings.Repeat("00", 11),       // short range
		"03000800" + strings.Repeat("00", 8),        // no name
		"03000801" + strings.Repeat("61", 264),      // name of 256 bytes
		"04000900" + strings.Repeat("00", 9),        // NUL in the name
		"05000900" + strings.Repeat("00", 8) + "2f", // slash in the name
		"06008300" + strings.Repeat("00", 131),      // inode of 127 bytes
		"08000700" + strings.Repeat("00", 7),        // short tail
		"09000700" + strings.Repeat("00", 7),        // short head
		"09000900" + strings.Repeat("00", 9),        // long head
		"07000100",                                  // passes the end
	} {
		b, err := hex.DecodeString(in)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for raw, err := range FCRecords(b) {
			if err == nil {
				_, err = raw.Decode()
			}
			if n++; !errors.Is(err, ErrCorrupt) {
				t.Errorf("%.20s: error %v", in, err)
			}
		}
		if n != 1 {
			t.Errorf("%.20s: %d records", in, n)
		}
	}
}

// Kernels before 6.2 leave one byte at the end of a block.
func TestFCRecords_rest(t *testing.T) {
	for rest := range 4 {
		b := append(AppendFC(nil, &FCHead{0, 9}), make([]byte, rest)...)
		n := 0
		for _, err := range FCRecords(b) {
			if n++; err != nil {
				t.Error(err)
			}
		}
		if n != 1 {
			t.Errorf("%d records with %d bytes after them", n, rest)
		}
	}
}

func TestFCWriter(t *testing.T) {
	for size := 128; size < 700; size++ {
		w := FCWriter{BlockSize: 1024}
		want := []FCRecord{&FCHead{0, 7}}
		for range 5 {
			want = append(want, &FCInode{3, make([]byte, size)})
		}
		for _, r := range want {
			if err := w.Add(r); err != nil {
				t.Fatal(err)
			}
		}
		b := w.Finish(7)
		if len(b)%1024 != 0 {
			t.Fatalf("inodes of %d bytes: %d bytes", size, len(b))
		}
		var sum uint32
		var got []FCRecord
		tails := 0
		for ; len(b) > 0; b = b[1024:] {
			for raw, err := range FCRecords(b[:1024]) {
				if err != nil {
					t.Fatal(err)
				}
				rec, err := raw.Decode()
				if err != nil {
					t.Fatal(err)
				}
				switch rec := rec.(type) {
				case *FCTail:
					if tails++; rec.Checksum != FCTailSum(sum, raw) || rec.Transaction != 7 || raw.Offset+len(raw.Bytes) != 1024 {
						t.Errorf("inodes of %d bytes: tail %+v", size, rec)
					}
				case *FCPad:
				default:
					got = append(got, rec)
				}
				sum = FCSum(sum, raw)
			}
		}
		if tails != 1 || !reflect.DeepEqual(got, want) {
			t.Errorf("inodes of %d bytes: %d tails, %d records", size, tails, len(got))
		}
	}
	w := FCWriter{BlockSize: 1024}
	if err := w.Add(&FCInode{3, make([]byte, 1016)}); err == nil {
		t.Error("a record longer than a block was taken")
	}
}

func TestFCTag_string(t *testing.T) {
	if s := FCTagAddRange.String() + FCTagHead.String() + FCTag(0).String() + FCTag(99).String(); s != "add_rangeheadtag 0tag 99" {
		t.Error(s)
	}
}

// FuzzFCRecords reads any bytes as a block of the fast-commit area. What
// decodes is encoded to the same bytes, but for padding.
func FuzzFCRecords(f *testing.F) {
	w := FCWriter{BlockSize: 256}
	for _, r := range []FCRecord{&FCHead{0, 7}, &FCDirent{FCTagCreat, 2, 12, []byte("name")}, &FCAddRange{12, ExtentLeaf{0, 1, false, 99}}} {
		if err := w.Add(r); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(w.Finish(7))
	f.Fuzz(func(t *testing.T, b []byte) {
		end := 0
		for raw, err := range FCRecords(b) {
			if err != nil {
				break
			}
			if raw.Offset != end {
				t.Fatalf("record at %d, want %d", raw.Offset, end)
			}
			end += len(raw.Bytes)
			rec, err := raw.Decode()
			if err != nil || raw.Tag == FCTagPad || raw.Tag == FCTagTail {
				continue
			}
			if a, ok := rec.(*FCAddRange); ok && a.Extent.Len == 0 {
				continue // of the two encodings of no blocks
			}
			if out := AppendFC(nil, rec); !bytes.Equal(out, raw.Bytes) {
				t.Errorf("%x encoded as %x", raw.Bytes, out)
			}
		}
	})
}
