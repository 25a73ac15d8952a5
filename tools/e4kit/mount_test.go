package main

import (
	"bufio"
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/mount"
)

func TestMountWords(t *testing.T) {
	dir := t.TempDir()
	img := filepath.Join(dir, "img")
	if err := os.WriteFile(img, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ words, want string }{
		{"e4kit ls img", "ls img"},
		{"e4kit", ""},
		{"e4kit --version", "--version"},
		{"/sbin/mount.e4kit IMG DIR -o ro,noatime", "mount -o ro,noatime IMG DIR"},
		{"mount.e4kit IMG DIR -sn -v -oro -t fuse -N 12", "mount -o ro IMG DIR"},
		{"mount.fuse.e4kit IMG DIR -rw", "mount -o ro -o rw IMG DIR"},
		{"mount.e4kit IMG DIR -vno sync", "mount -o sync IMG DIR"},
		{"mount.e4kit IMG DIR -x", "mount IMG DIR -x"},
		{"e4kit IMG DIR -o rw,allow_other", "mount -o allow_other IMG DIR"},
		{"e4kit IMG DIR -o rw", "mount IMG DIR"},
		{"e4kit IMG DIR", "mount IMG DIR"},
		{"e4kit IMG none -o rw", "IMG none -o rw"},
		{"e4kit IMG DIR more", "IMG DIR more"},
		{"e4kit ls DIR", "ls DIR"},
		{"e4kit IMGx DIR -o ro", "mount -o ro IMGx DIR"}, // which says that there is none
		{"e4kit IMGx DIR", "IMGx DIR"},
		{"e4kit lss DIR -o ro", "lss DIR -o ro"},
	} {
		fill := strings.NewReplacer("IMG", img, "DIR", dir)
		got := mountWords(strings.Fields(fill.Replace(tt.words)), []string{"ls", "mount"})
		if strings.Join(got, " ") != fill.Replace(tt.want) || got == nil {
			t.Errorf("%s: %q", tt.words, got)
		}
	}
	if got := mountWords([]string{"mount.e4kit", "a", "b", "-f"}, nil); got != nil {
		t.Errorf("a fake mount does %q", got)
	}
}

func TestMountRun_takeOptions(t *testing.T) {
	r := &mountRun{}
	own, err := r.takeOptions([]string{`ro,noatime,overlay=/a\,b,x-systemd.automount,_netdev`, "commit=9,log_file=/log,defaults"})
	if err != nil {
		t.Fatal(err)
	}
	if own["overlay"] != "/a,b" || own["log_file"] != "/log" || !r.options.ReadOnly || r.options.CommitInterval != 9*time.Second {
		t.Errorf("%v %+v", own, r.options)
	}
	for _, bad := range []string{"overlay=", "nonsense", "data=lost"} {
		if _, err := r.takeOptions([]string{bad}); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

func TestLoopback(t *testing.T) {
	for _, address := range []string{"127.0.0.1:9401", "[::1]:9401", "localhost:1", "127.8.8.8:65535"} {
		if err := loopback(address); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, address := range []string{"", ":9401", "0.0.0.0:9401", "192.168.1.1:9401", "[::]:9401", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:http", "example.org:80"} {
		if loopback(address) == nil {
			t.Errorf("%s is taken", address)
		}
	}
}

func TestReadMountTable(t *testing.T) {
	list, err := readMountTable(strings.NewReader(`22 1 8:1 / / rw - ext4 /dev/sda1 rw
36 22 0:42 / /mnt/a\040b\134c rw,nosuid shared:1 master:2 - fuse.e4kit /img\011 rw,user_id=1000,group_id=0
short - line
37 22 0:43 / /mnt/x rw - fuse.e4kit
`))
	want := []mountEntry{
		{"8:1", "/", "ext4", "/dev/sda1", "rw"},
		{"0:42", `/mnt/a b\c`, "fuse.e4kit", "/img\t", "rw,user_id=1000,group_id=0"},
	}
	if err != nil || !reflect.DeepEqual(list, want) {
		t.Fatalf("%q %v", list, err)
	}
	if n := list[1].owner(); n != 1000 {
		t.Errorf("owner %d", n)
	}
	if n := list[0].owner(); n != -1 {
		t.Errorf("owner %d", n)
	}
	sockets := list[1].sockets(func(string) string { return "/run/user/7" })
	if !slices.Contains(sockets, "/run/user/7/e4kit/0-42.sock") || !slices.Contains(sockets, "/run/user/1000/e4kit/0-42.sock") {
		t.Error(sockets)
	}
}

func TestQuantile(t *testing.T) {
	classes := make([]uint64, 32)
	if got := quantile(classes, 50, 0); got != 0 {
		t.Errorf("of nothing: %d", got)
	}
	classes[3], classes[10] = 98, 2
	for _, tt := range []struct{ percent, want int64 }{{50, 16}, {98, 16}, {99, 2000}} {
		if got := quantile(classes, uint64(tt.percent), 2000); got != tt.want {
			t.Errorf("%d%%: %d, want %d", tt.percent, got, tt.want)
		}
	}
}

func TestShortTime(t *testing.T) {
	for ns, want := range map[int64]string{0: "0ns", 999: "999ns", 1500: "1.50us", 25_300: "25.3us", 123_456_789: "123ms", 61e9: "61.0s"} {
		if got := shortTime(ns); got != want {
			t.Errorf("%d: %s, want %s", ns, got, want)
		}
	}
}

// TestJournalHandler: one datagram each, and nothing in it can make another
// field.
func TestJournalHandler(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(newJournalHandler(&out, slog.LevelInfo)).With("image", "/a b")
	log.Debug("not told")
	log.WithGroup("g").Error("went\nPRIORITY=0", "error", "one\ntwo")
	text := out.String()
	if !strings.HasPrefix(text, "PRIORITY=3\nSYSLOG_IDENTIFIER=e4kit\n") || strings.Count(text, "\n") != 4 ||
		!strings.HasSuffix(text, `MESSAGE=went PRIORITY=0 image="/a b" g.error="one\ntwo"`+"\n") {
		t.Errorf("%q", text)
	}
}

func TestMetricText(t *testing.T) {
	var out strings.Builder
	m := &metricText{bufio.NewWriter(&out), metricLabel("mountpoint", `/a"b`)}
	op := mount.OpStats{Op: "READ", Count: 3, Errors: 1, Bytes: 4096, Total: 3 * time.Millisecond}
	op.Histogram[5], op.Histogram[20] = 2, 1
	m.operations([]mount.OpStats{op})
	m.state(&mountStatus{Journal: &mountJournal{Commits: 7}})
	m.w.Flush()
	for _, line := range []string{
		`e4kit_requests_total{mountpoint="/a\"b",op="READ"} 3`,
		`e4kit_request_bytes_total{mountpoint="/a\"b",op="READ"} 4096`,
		`e4kit_request_seconds_bucket{mountpoint="/a\"b",op="READ",le="2.048e-06"} 2`,
		`e4kit_request_seconds_bucket{mountpoint="/a\"b",op="READ",le="+Inf"} 3`,
		`e4kit_request_seconds_sum{mountpoint="/a\"b",op="READ"} 0.003`,
		`e4kit_journal_commits_total{mountpoint="/a\"b"} 7`,
	} {
		if !strings.Contains(out.String(), line+"\n") {
			t.Errorf("no line %s in\n%s", line, out.String())
		}
	}
}

// TestCommitOverlay: the command removes what it has written, or keeps it.
func TestCommitOverlay(t *testing.T) {
	dir, err := demo()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(dir, "demo.img"))
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	if err := os.WriteFile("img", content, 0o600); err != nil {
		t.Fatal(err)
	}
	change := func(at int64, text string) {
		t.Helper()
		base, err := device.Open("img", device.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer base.Close()
		o, err := device.OpenOverlay("ovl", base)
		if err != nil {
			t.Fatal(err)
		}
		o.WriteAt([]byte(text), at)
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
	}
	last := int64(len(content)) - 4096
	change(last, "first")
	if r := e4kit("commit-overlay", "--keep", "--json", "ovl", "img"); r.code != 0 || r.stdout != `{"overlay":"ovl","image":"img","bytes":4096,"kept":true}`+"\n" {
		t.Error(r)
	}
	change(last+100, "second")
	// On a terminal a bar comes and goes.
	tty := world{errTTY: true, columns: 80}
	if r := tty.run("commit-overlay", "ovl", "img"); r.code != 0 || r.stdout != "img: 4.0KiB written\n" ||
		!strings.Contains(r.stderr, "4.0K/4.0K") || !strings.HasSuffix(r.stderr, "\r\x1b[K") {
		t.Error(r)
	}
	if _, err := os.Stat("ovl"); !os.IsNotExist(err) {
		t.Errorf("the overlay is there: %v", err)
	}
	got, err := os.ReadFile("img")
	if err != nil || string(got[last:last+5]) != "first" || string(got[last+100:last+106]) != "second" {
		t.Errorf("the image has not both: %v", err)
	}
	change(last, "third")
	if err := os.Chtimes("img", time.Time{}, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if r := e4kit("commit-overlay", "ovl", "img"); r.code != exitFailed || !strings.Contains(r.stderr, "does not belong to this image") {
		t.Error(r)
	}
	if r := e4kit("commit-overlay", "img", "ovl"); r.code != exitCorrupt {
		t.Error(r)
	}
}
