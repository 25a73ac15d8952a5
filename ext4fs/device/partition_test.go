package device

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

const mib = 1 << 20

// places is what a test compares of partitions.
func places(parts []Partition) string {
	var s []string
	for _, p := range parts {
		s = append(s, fmt.Sprintf("%d:%s@%d+%d", p.Number, p.Name, p.Offset, p.Size))
	}
	return strings.Join(s, " ")
}

// gptDisk is a disk of 8 MiB with three partitions, the second one ext.
func gptDisk(sector int) []byte {
	b := make([]byte, 8*mib)
	per := uint64(mib / sector)
	putGPT(b, sector, []gptPart{
		{slot: 1, first: per, last: 2*per - 1, name: "boot", id: 1},
		{slot: 2, first: 2 * per, last: 6*per - 1, name: "größe", id: 2},
		{slot: 7, first: 6 * per, last: 7*per - 1, name: "", id: 7},
	})
	putExt(b[2*mib:])
	return b
}

const gptPlaces = "1:boot@1048576+1048576 2:größe@2097152+4194304 7:@6291456+1048576"

func TestPartitions_gpt(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		last := 8*mib - sector
		for _, tt := range []struct {
			name   string
			damage func(b []byte)
			want   string // "": error
		}{
			{"good", func([]byte) {}, gptPlaces},
			{"primary signature gone", func(b []byte) { b[sector] = 0 }, gptPlaces},
			{"primary checksum", func(b []byte) { b[sector+60]++ }, gptPlaces},
			{"primary entries", func(b []byte) { b[2*sector+60]++ }, gptPlaces},
			{"first sectors gone", func(b []byte) { clear(b[:10*sector]) }, gptPlaces},
			{"backup gone", func(b []byte) { clear(b[last:]) }, gptPlaces},
			{"no MBR", func(b []byte) { clear(b[:512]) }, gptPlaces},
			{"both bad", func(b []byte) { b[sector+60]++; b[last+60]++ }, ""},
			{"both gone", func(b []byte) { b[sector]++; b[last]++ }, ""},
			{"header of 10 bytes", func(b []byte) { b[sector+12] = 10; b[last+12] = 10 }, ""},
			{"header larger than the sector", func(b []byte) { b[sector+14] = 1; b[last+14] = 1 }, ""},
		} {
			t.Run(fmt.Sprint(sector, " ", tt.name), func(t *testing.T) {
				b := gptDisk(sector)
				tt.damage(b)
				parts, scheme, err := Partitions(NewMemory(b))
				if scheme != SchemeGPT {
					t.Errorf("scheme %v", scheme)
				}
				if tt.want == "" {
					if !errors.Is(err, disk.ErrCorrupt) {
						t.Errorf("error %v", err)
					}
					return
				}
				if err != nil || places(parts) != tt.want {
					t.Errorf("%s, %v", places(parts), err)
				}
			})
		}
	}
}

func TestPartitions_gptFields(t *testing.T) {
	parts, _, err := Partitions(NewMemory(gptDisk(512)))
	if err != nil {
		t.Fatal(err)
	}
	p := parts[1]
	if p.Type != "0fc63daf-8483-4772-8e79-3d69d8477de4" || p.UUID != fmt.Sprintf(testUUID, 2) {
		t.Errorf("type %s, UUID %s", p.Type, p.UUID)
	}
	if parts[0].Ext || !p.Ext || parts[2].Ext {
		t.Errorf("the ext one is not recognised: %v", parts)
	}
	if got := p.String(); got != `2 "größe" at 2097152, 4194304 bytes, ext` {
		t.Error(got)
	}
}

// Entries with good checksums can still be nonsense.
func TestPartitions_gptHostileEntries(t *testing.T) {
	b := make([]byte, 8*mib)
	putGPT(b, 512, []gptPart{
		{slot: 1, first: 5000, last: 4000, id: 1},
		{slot: 2, first: 0, last: math.MaxUint64, id: 2},
		{slot: 3, first: math.MaxInt64 / 512, last: math.MaxInt64 / 512, id: 3},
		{slot: 4, first: math.MaxInt64/512 - 5, last: math.MaxInt64/512 - 1, id: 4},
		{slot: 5, first: 2048, last: 2048, id: 5},
	})
	parts, _, err := Partitions(NewMemory(b))
	if err != nil || len(parts) != 2 || parts[0].Number != 4 || parts[1].Number != 5 {
		t.Fatalf("%v, %v", parts, err)
	}
	if _, err := choose(NewMemory(b), &Options{Partition: "4"}); !errors.Is(err, disk.ErrCorrupt) {
		t.Errorf("a partition beyond the disk: %v", err)
	}
}

func TestPartitions_mbr(t *testing.T) {
	logical := func() []byte {
		b := make([]byte, 16*mib)
		putMBR(b, 0, 0xcafe1234,
			mbrEntry{status: 0x80, kind: 0x0c, first: 2048, sectors: 2048},
			mbrEntry{},
			mbrEntry{kind: 0x05, first: 8192, sectors: 16384},
			mbrEntry{kind: 0x83, first: 4096, sectors: 4096})
		putMBR(b, 8192*512, 0, mbrEntry{kind: 0x83, first: 63, sectors: 100}, mbrEntry{kind: 0x05, first: 4096, sectors: 4096})
		putMBR(b, (8192+4096)*512, 0, mbrEntry{kind: 0x83, first: 2048, sectors: 2000}, mbrEntry{kind: 0x0f, first: 12288, sectors: 1000})
		putMBR(b, (8192+12288)*512, 0, mbrEntry{kind: 0x82, first: 1, sectors: 9})
		return b
	}
	const primaries = "1:@1048576+1048576 3:@4194304+8388608 4:@2097152+2097152"
	for _, tt := range []struct {
		name   string
		change func(b []byte)
		want   string
	}{
		{"chain", func([]byte) {}, primaries + " 5:@4226560+51200 6:@7340032+1024000 7:@10486272+4608"},
		{"chain ends", func(b []byte) { clear(b[(8192+4096)*512:][:512]) }, primaries + " 5:@4226560+51200"},
		{"chain bites its tail", func(b []byte) {
			putMBR(b, (8192+12288)*512, 0, mbrEntry{kind: 0x82, first: 1, sectors: 9}, mbrEntry{kind: 5, first: 4096, sectors: 9})
		}, primaries + " 5:@4226560+51200 6:@7340032+1024000 7:@10486272+4608"},
		{"link to itself", func(b []byte) {
			putMBR(b, 8192*512, 0, mbrEntry{kind: 0x83, first: 63, sectors: 100}, mbrEntry{kind: 5, first: 0, sectors: 9})
		}, primaries + " 5:@4226560+51200"},
		{"link out of the extended partition", func(b []byte) {
			putMBR(b, 8192*512, 0, mbrEntry{kind: 0x83, first: 63, sectors: 100}, mbrEntry{kind: 5, first: 16384, sectors: 9})
		}, primaries + " 5:@4226560+51200"},
		{"logical one out of the extended one", func(b []byte) {
			putMBR(b, 8192*512, 0, mbrEntry{kind: 0x83, first: 16384, sectors: 100})
		}, primaries},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := logical()
			tt.change(b)
			parts, scheme, err := Partitions(NewMemory(b))
			if err != nil || scheme != SchemeMBR || places(parts) != tt.want {
				t.Errorf("%v %s, %v", scheme, places(parts), err)
			}
		})
	}
	parts, _, _ := Partitions(NewMemory(logical()))
	if p := parts[2]; p.UUID != "cafe1234-04" || p.Type != "0x83" {
		t.Errorf("UUID %s, type %s", p.UUID, p.Type)
	}
}

// A chain may be long, but not longer than anybody needs.
func TestPartitions_mbrLongChain(t *testing.T) {
	b := make([]byte, 2*mib)
	putMBR(b, 0, 0, mbrEntry{kind: 5, first: 1, sectors: 4000})
	for i := int64(1); i < 4000; i++ {
		putMBR(b, i*512, 0, mbrEntry{kind: 0x83, first: 1, sectors: 1}, mbrEntry{kind: 5, first: uint32(i), sectors: 1})
	}
	parts, _, err := Partitions(NewMemory(b))
	if err != nil || len(parts) != 1+mbrMaxLogical {
		t.Errorf("%d partitions, %v", len(parts), err)
	}
}

func TestPartitions_mbrWithLargeSectors(t *testing.T) {
	b := make([]byte, 8*mib)
	putMBR(b, 0, 0, mbrEntry{kind: 0x83, first: 256, sectors: 512})
	putExt(b[mib:])
	parts, _, err := Partitions(NewMemory(b))
	if err != nil || places(parts) != "1:@1048576+2097152" {
		t.Errorf("%s, %v", places(parts), err)
	}
}

// hybrid is a GPT disk whose MBR lists a partition too.
func hybrid() []byte {
	b := gptDisk(512)
	putMBR(b, 0, 0, mbrEntry{kind: 0xee, first: 1, sectors: 2047}, mbrEntry{kind: 0x83, first: 4096, sectors: 8192})
	return b
}

func TestPartitions_which(t *testing.T) {
	broken := hybrid()
	broken[512+60]++
	broken[len(broken)-512+60]++
	overwritten := gptDisk(512) // fdisk made an MBR and left the GPT
	putMBR(overwritten, 0, 0, mbrEntry{kind: 0x83, first: 6144, sectors: 100})
	emptyMBR := gptDisk(512)
	putMBR(emptyMBR, 0, 0)
	fat := make([]byte, mib) // a boot sector with code where the table is
	copy(fat, "\xeb\x3c\x90MSDOS5.0")
	copy(fat[446:], strings.Repeat("This is no bootable disk. ", 3))
	fat[510], fat[511] = 0x55, 0xaa
	onlyMagic := make([]byte, mib)
	onlyMagic[510], onlyMagic[511] = 0x55, 0xaa
	noFrontMBR := make([]byte, 8*mib) // an old backup header behind something else
	copy(noFrontMBR[len(noFrontMBR)-40*512:], gptDisk(512)[8*mib-40*512:])
	putMBR(noFrontMBR, 0, 0, mbrEntry{kind: 0x83, first: 6144, sectors: 100})
	for _, tt := range []struct {
		name   string
		b      []byte
		scheme Scheme
		want   string
	}{
		{"hybrid", hybrid(), SchemeGPT, gptPlaces},
		{"hybrid with a broken GPT", broken, SchemeMBR, "2:@2097152+4194304"},
		{"MBR over GPT", overwritten, SchemeMBR, "1:@3145728+51200"},
		{"empty MBR with GPT", emptyMBR, SchemeGPT, gptPlaces},
		{"MBR and an old backup header", noFrontMBR, SchemeMBR, "1:@3145728+51200"},
		{"boot sector", fat, SchemeNone, ""},
		{"only the magic number", onlyMagic, SchemeNone, ""},
		{"nothing", make([]byte, mib), SchemeNone, ""},
		{"tiny", make([]byte, 100), SchemeNone, ""},
		{"empty", nil, SchemeNone, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			parts, scheme, err := Partitions(NewMemory(tt.b))
			if err != nil || scheme != tt.scheme || places(parts) != tt.want {
				t.Errorf("%v %s, %v", scheme, places(parts), err)
			}
		})
	}
}

func TestPartitions_likeSfdisk(t *testing.T) {
	RequireTool(t, "sfdisk")
	for name, script := range map[string]string{
		"gpt": "label: gpt\nsize=2MiB, name=\"one\"\nsize=3MiB, name=\"zwei ü\"\n5: size=1MiB\n",
		"dos": "label: dos\nsize=2MiB\nsize=9MiB, type=5\nsize=1MiB\n5: size=1MiB\n6: size=2MiB\n7: size=1MiB\n",
	} {
		t.Run(name, func(t *testing.T) {
			img := filepath.Join(t.TempDir(), "disk")
			if err := os.WriteFile(img, make([]byte, 20*mib), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("sfdisk", "-q", "--no-tell-kernel", img)
			cmd.Stdin = strings.NewReader(script)
			if msg, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, msg)
			}
			out, err := exec.Command("sfdisk", "--json", img).Output()
			if err != nil {
				t.Fatal(err)
			}
			var table struct {
				Partitiontable struct {
					Partitions []struct {
						Node, Name, UUID string
						Start, Size      int64
					}
				}
			}
			if err := json.Unmarshal(out, &table); err != nil {
				t.Fatal(err)
			}
			f, err := Open(img, Options{})
			if !errors.Is(err, ErrNoPartition) {
				f.Close()
				t.Errorf("opening a disk without ext: %v", err)
			}
			b, _ := os.ReadFile(img)
			parts, _, err := Partitions(NewMemory(b))
			if err != nil || len(parts) != len(table.Partitiontable.Partitions) {
				t.Fatalf("%s, %v; sfdisk: %s", places(parts), err, out)
			}
			for i, want := range table.Partitiontable.Partitions {
				p := parts[i]
				if p.Offset != want.Start*512 || p.Size != want.Size*512 || p.Name != want.Name ||
					want.Node != fmt.Sprint(img, p.Number) || (name == "gpt" && !strings.EqualFold(p.UUID, want.UUID)) {
					t.Errorf("%+v, sfdisk: %+v", p, want)
				}
			}
		})
	}
}

func FuzzPartitions(f *testing.F) {
	for _, sector := range []int{512, 4096} {
		b := make([]byte, 9*sector)
		putSmallGPT(b, sector, 3, []gptPart{{1, 4, 5, "boot", 1}, {2, 3, 7, "root", 2}})
		f.Add(b)
		putMBR(b, 0, 0, mbrEntry{kind: 0xee, first: 1, sectors: 2}, mbrEntry{kind: 0x83, first: 4, sectors: 2})
		f.Add(b)
	}
	chain := make([]byte, 10*512)
	putMBR(chain, 0, 1, mbrEntry{kind: 5, first: 1, sectors: 30}, mbrEntry{kind: 0x83, first: 2, sectors: 9})
	putMBR(chain, 512, 0, mbrEntry{kind: 0x83, first: 1, sectors: 2}, mbrEntry{kind: 5, first: 4, sectors: 9})
	f.Add(chain)
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, sector := range []int{512, 4096} {
			if bytes.HasPrefix(b[min(len(b), sector):], gptMagic) {
				b = bytes.Clone(b)
				sealGPT(b, sector, 1)
				sealGPT(b, sector, len(b)/sector-1)
			}
		}
		d := NewMemory(b)
		parts, scheme, err := Partitions(d)
		if (err != nil || scheme == SchemeNone) && len(parts) != 0 {
			t.Fatal("partitions of no table")
		}
		if len(parts) > gptMaxArray/gptEntrySize+4*mbrMaxLogical {
			t.Fatalf("%d partitions", len(parts))
		}
		for i, p := range parts {
			if p.Offset < 0 || p.Size <= 0 || p.Offset > math.MaxInt64-p.Size {
				t.Fatalf("impossible: %v", p)
			}
			if i > 3 {
				continue
			}
			c, err := choose(d, &Options{Partition: fmt.Sprintf("@%d", p.Offset)})
			if err == nil {
				if _, err := NewWindow(d, c.off, c.size); err != nil {
					t.Fatal(err)
				}
			}
		}
		if c, err := choose(d, &Options{}); err == nil {
			if _, err := NewWindow(d, c.off, c.size); err != nil {
				t.Fatal(err)
			}
		}
	})
}
