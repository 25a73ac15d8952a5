package device

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
)

func TestChoose_byContent(t *testing.T) {
	two := gptDisk(512)
	putExt(two[6*mib:])
	journal := gptDisk(512)
	putExt(journal[6*mib:])
	le.PutUint32(journal[6*mib+superOffset+0x60:], 8) // an external journal
	remains := gptDisk(512)
	le.PutUint16(remains[6*mib+superOffset+0x38:], 0xef53) // a magic number and nothing else
	none := gptDisk(512)
	clear(none[2*mib:][:4096])
	whole := make([]byte, 2*mib) // a file system with a boot loader that looks like an MBR
	putMBR(whole, 0, 0, mbrEntry{kind: 0x83, first: 100, sectors: 1000})
	putExt(whole)
	wholeBadGeometry := make([]byte, 2*mib)
	copy(wholeBadGeometry, whole)
	le.PutUint32(wholeBadGeometry[superOffset+0x18:], 77)
	for _, tt := range []struct {
		name      string
		b         []byte
		off, size int64
		number    int
		err       error
	}{
		{"the only one", gptDisk(512), 2 * mib, 4 * mib, 2, nil},
		{"several", two, 0, 0, 0, ErrManyPartitions},
		{"beside a journal", journal, 2 * mib, 4 * mib, 2, nil},
		{"beside remains", remains, 2 * mib, 4 * mib, 2, nil},
		{"none", none, 0, 0, 0, ErrNoPartition},
		{"ext wins over a table", whole, 0, 2 * mib, 0, nil},
		{"damaged ext too", wholeBadGeometry, 0, 2 * mib, 0, nil},
		{"no table", make([]byte, 5000), 0, 5000, 0, nil},
		{"empty", nil, 0, 0, 0, nil},
		{"cut off", gptDisk(512)[:4*mib+100], 2 * mib, 2*mib + 100, 2, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := choose(NewMemory(tt.b), &Options{})
			if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Fatalf("error %v", err)
			}
			if c.off != tt.off || c.size != tt.size || (c.part != nil) != (tt.number != 0) ||
				c.part != nil && c.part.Number != tt.number {
				t.Errorf("%+v", c)
			}
		})
	}
	_, err := choose(NewMemory(two), &Options{})
	var pe *PartitionError
	if !errors.As(err, &pe) || len(pe.Candidates) != 2 || pe.Scheme != SchemeGPT {
		t.Fatalf("%#v", err)
	}
	const want = `several partitions hold an ext file system: ` +
		`2 "größe" at 2097152, 4194304 bytes, ext; 7 at 6291456, 1048576 bytes, ext`
	if err.Error() != want {
		t.Error(err)
	}
	_, err = choose(NewMemory(none), &Options{})
	if !strings.HasPrefix(err.Error(), `no partition holds an ext file system: 1 "boot" at`) || !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestChoose_byName(t *testing.T) {
	b := gptDisk(512)
	twins := make([]byte, 8*mib)
	putGPT(twins, 512, []gptPart{
		{slot: 1, first: 2048, last: 4095, name: "a", id: 1}, {slot: 2, first: 4096, last: 6143, name: "a", id: 2},
		{slot: 3, first: 6144, last: 8191, name: "2", id: 3},
	})
	d, tw := NewMemory(b), NewMemory(twins)
	for _, tt := range []struct {
		d         Device
		want      string
		off, size int64
		err       string
	}{
		{d, "1", mib, mib, ""},
		{d, "7", 6 * mib, mib, ""},
		{d, "3", 0, 0, `no partition "3": 1 "boot"`},
		{d, "0", 0, 0, `no partition "0"`},
		{d, "128", 0, 0, `no partition "128"`},
		{d, "boot", mib, mib, ""},
		{d, "größe", 2 * mib, 4 * mib, ""},
		{d, "partlabel=boot", mib, mib, ""},
		{d, "PARTLABEL=1", 0, 0, `no partition "PARTLABEL=1"`},
		{d, fmt.Sprintf(testUUID, 7), 6 * mib, mib, ""},
		{d, strings.ToUpper(fmt.Sprintf("partuuid="+testUUID, 1)), mib, mib, ""},
		{d, "Boot", 0, 0, `no partition "Boot"`},
		// At an offset: a partition that starts there, else all that follows.
		{d, "1048576", mib, mib, ""},
		{d, "0x100000", mib, mib, ""},
		{d, "1MiB", mib, mib, ""},
		{d, "1M", mib, mib, ""},
		{d, "1mb", mib, mib, ""},
		{d, "1024k", mib, mib, ""},
		{d, "2048s", mib, mib, ""},
		{d, "@1048576", mib, mib, ""},
		{d, "@0x100000", mib, mib, ""},
		{d, "@2MiB", 2 * mib, 4 * mib, ""},
		{d, "@0", 0, 8 * mib, ""},
		{d, "@1", 1, 8*mib - 1, ""},
		{d, "129", 129, 8*mib - 129, ""},
		{d, "0129", 129, 8*mib - 129, ""}, // no octal
		{d, "@x", 0, 0, `"x" is not a byte offset`},
		{d, "@", 0, 0, `"" is not a byte offset`},
		{d, "@1MM", 0, 0, `unknown unit`},
		{d, "@1i", 0, 0, `not a byte offset`},
		{d, "@9223372036854775807", 0, 0, "not inside the image"},
		{d, "@9223372036854775807k", 0, 0, "too large"},
		{d, "8MiB", 0, 0, "offset 8388608 is not inside the image of 8388608 bytes"},
		{tw, "a", 0, 0, `several partitions are called "a": 1 "a" at 1048576`},
		{tw, "2", 2 * mib, mib, ""}, // the number goes first
		{tw, "PARTLABEL=2", 3 * mib, mib, ""},
		{NewMemory(make([]byte, mib)), "1", 0, 0, `no partition "1" (there is no partition table)`},
	} {
		c, err := choose(tt.d, &Options{Partition: tt.want})
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: error %v", tt.want, err)
			}
			continue
		}
		if err != nil || c.off != tt.off || c.size != tt.size {
			t.Errorf("%s: %d at %d, %v", tt.want, c.size, c.off, err)
		}
	}
}

func TestChoose_offset(t *testing.T) {
	d := NewMemory(gptDisk(512))
	for _, tt := range []struct {
		o         Options
		off, size int64
		ok        bool
	}{
		{Options{Offset: 2 * mib}, 2 * mib, 4 * mib, true},
		{Options{Offset: 3 * mib}, 3 * mib, 5 * mib, true},
		{Options{Offset: -1}, 0, 0, false},
		{Options{Offset: 8 * mib}, 0, 0, false},
		{Options{Offset: mib, Partition: "1"}, 0, 0, false},
	} {
		c, err := choose(d, &tt.o)
		if (err == nil) != tt.ok || c.off != tt.off || c.size != tt.size {
			t.Errorf("%+v: %d at %d, %v", tt.o, c.size, c.off, err)
		}
	}
	// An offset is the way around a broken table.
	b := gptDisk(512)
	b[512+60]++
	b[len(b)-512+60]++
	if c, err := choose(NewMemory(b), &Options{Offset: 2 * mib}); err != nil || c.off != 2*mib {
		t.Errorf("%+v, %v", c, err)
	}
}
