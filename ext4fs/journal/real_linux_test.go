package journal_test

import (
	"bytes"
	"compress/gzip"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/journal"
	"github.com/e4kit/e4kit/testimages"
)

var update = flag.Bool("update", false, "let the kernel write the logs in testdata again")

// realCases are logs that Linux writes, short enough to be kept. All have
// blocks of 1 KiB.
var realCases = []crashCase{
	{name: "v3", mkfs: []string{"-b", "1024", "-J", "size=1"}, rounds: 30},
	{name: "none", mkfs: []string{"-b", "1024", "-J", "size=1", "-O", "^metadata_csum,^64bit"}, rounds: 30},
	{name: "v1", mkfs: []string{"-b", "1024", "-J", "size=1", "-O", "^metadata_csum,64bit"}, mount: "journal_checksum", rounds: 30},
	{name: "data_journal", mkfs: []string{"-b", "1024", "-J", "size=1"}, mount: "data=journal", rounds: 12, flushed: true},
	{name: "fast_commit", mkfs: []string{"-b", "1024", "-J", "size=1", "-O", "fast_commit"}, rounds: 40},
}

// Logs that Linux 6.18 wrote, as they are shown. "go test -run RealLogs
// -update", as root, makes them anew.
func TestRealLogs(t *testing.T) {
	if *update {
		testimages.RequireLoop(t)
		testimages.RequireTool(t, "debugfs")
		for _, c := range realCases {
			c.size = 16 << 20
			img := c.crash(t, 11)
			b := make([]byte, int(img.log.Blocks())*1024)
			if err := img.log.ReadBlocks(0, b); err != nil {
				t.Fatal(err)
			}
			b = bytes.TrimRight(b, "\x00")
			var z bytes.Buffer
			w, _ := gzip.NewWriterLevel(&z, gzip.BestCompression)
			_, err := w.Write(b)
			if err == nil {
				err = w.Close()
			}
			if err == nil {
				err = os.WriteFile("testdata/"+c.name+".log.gz", z.Bytes(), 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range realCases {
		t.Run(c.name, func(t *testing.T) {
			got := describe(t, c.name)
			golden := "testdata/" + c.name + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("shown as\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// describe writes down what is in a log of testdata.
func describe(t *testing.T, name string) string {
	t.Helper()
	file, err := filepath.Abs("testdata/" + name + ".log.gz")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(unzip(t, file)); err != nil {
		t.Fatal(err)
	}
	sb := new(disk.JournalSuperblock)
	if err := sb.Decode(b.Bytes()); err != nil {
		t.Fatal(err)
	}
	raw := make([]byte, int(sb.MaxLen)*1024)
	copy(raw, b.Bytes())
	log, err := journal.NewInternal(device.NewMemory(raw), 1024, []journal.Run{{Len: sb.MaxLen}})
	if err != nil {
		t.Fatal(err)
	}
	rec, err := journal.Load(t.Context(), log, journal.Options{BlockSize: 1024, NeedsRecovery: true})
	if err != nil {
		t.Fatal(err)
	}
	var s strings.Builder
	fmt.Fprintf(&s, "%v\n%v %v, ring %d to %d, start %d, head %d\n", rec, sb.Compat.Names(), sb.Incompat.Names(), sb.First, sb.Last(), sb.Start, rec.Head)
	for r, err := range journal.Walk(log, 1024) {
		if err != nil {
			t.Error(err)
		}
		fmt.Fprintf(&s, "%d+%d %v %d %v sum %v/%v", r.Block, r.Count, r.Type, r.Sequence, r.State, r.HasChecksum, r.ChecksumOK())
		for _, tag := range r.Tags {
			fmt.Fprintf(&s, " %d:%x:%v", tag.Home, tag.Flags, tag.ChecksumOK())
		}
		if len(r.Revokes) > 0 {
			fmt.Fprint(&s, " ", r.Revokes)
		}
		s.WriteByte('\n')
	}
	for r, err := range journal.WalkFastCommits(log, 1024) {
		if err != nil {
			t.Error(err)
			continue
		}
		fmt.Fprintf(&s, "%d.%d %v %d %v\n", r.Block, r.Offset, r.Record.Tag(), r.Len, r.ChecksumOK)
	}
	return s.String()
}
