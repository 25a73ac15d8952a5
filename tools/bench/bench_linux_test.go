package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The first word makes a test binary the second copy that measures.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == measureWord {
		os.Exit(measureChild(os.Args[2:]))
	}
	os.Exit(m.Run())
}

func TestMeasure(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	c, err := measure(t.Context(), command{argv: []string{"sh", "-c", "echo $TZ; sleep 0.05; :"}, out: out})
	if err != nil {
		t.Fatal(err)
	}
	if c.Wall < 50*time.Millisecond || c.Wall > time.Minute || c.RSS < 1<<16 || c.CPU > c.Wall {
		t.Errorf("%+v", c)
	}
	if got, _ := os.ReadFile(out); string(got) != "UTC\n" {
		t.Errorf("output %q", got)
	}
	for _, argv := range [][]string{{"sh", "-c", "echo bad >&2; exit 3"}, {"/does/not/exist"}} {
		if _, err := measure(t.Context(), command{argv: argv}); err == nil {
			t.Errorf("%q: no error", argv)
		}
	}
	_, err = measure(t.Context(), command{argv: []string{"sh", "-c", "echo bad >&2; exit 3"}})
	if err == nil || !strings.Contains(err.Error(), "bad") || !strings.Contains(err.Error(), "status 3") {
		t.Errorf("error %v", err)
	}
}

func TestMeasure_cancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	start := time.Now()
	if _, err := measure(ctx, command{argv: []string{"sleep", "30"}}); err == nil {
		t.Error("no error")
	}
	if time.Since(start) > 10*time.Second {
		t.Error("the command was not ended")
	}
	// What cleans up runs all the same.
	if _, err := measure(ctx, command{argv: []string{"true"}, always: true}); err != nil {
		t.Error(err)
	}
}

func TestMeasureAll(t *testing.T) {
	dir := t.TempDir()
	touch := func(name string) command { return command{argv: []string{"touch", filepath.Join(dir, name)}} }
	last := touch("last")
	last.always = true
	b := &bench{ctx: t.Context(), mnt: filepath.Join(dir, "none")}
	_, err := b.measureAll([]command{touch("first"), {argv: []string{"false"}}, touch("skipped"), last})
	if err == nil {
		t.Error("no error")
	}
	list, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(list) != 2 || filepath.Base(list[1]) != "last" {
		t.Errorf("ran: %q", list)
	}
}

func TestFacts(t *testing.T) {
	tests := []struct {
		name  string
		facts func(place) (string, error)
		out   string
		want  string // "" is an error
	}{
		{"find", findFacts, "   12   4 -rw-r--r--   2 root  root    100 Jan  1 2026 /a b\n" +
			"   13   0 lrwxrwxrwx   1 root root 7 Jan  1 12:00 /l -> target\n",
			"2 names, inode sum 25, link sum 3, 107 bytes"},
		{"find, odd line", findFacts, "oops\n", ""},
		{"debugfs", debugfsExtents, "debugfs: ex <12>\nLevel Entries       Logical      Physical Length Flags\n" +
			" 0/ 1   1/  1     0 -    15 33280             16\n" +
			" 1/ 1   1/  2     0 -     7  1000 -  1007      8 \n" +
			" 1/ 1   2/  2     8 -    15  2000 -  2007      8 Uninit\n" +
			"<13>: does not uses extent block maps\n",
			"2 extents, 16 blocks, sum of starts 3000"},
		{"ours", ourExtents, `{"inode":7,"logical":0,"physical":9,"length":1,"flags":[]}` + "\n" +
			`{"inode":12,"path":"/x","logical":0,"physical":1000,"length":8,"flags":[]}` + "\n" +
			`{"inode":12,"path":"/x","logical":8,"physical":null,"length":8,"flags":["hole"]}` + "\n" +
			`{"type":"summary","files":3}` + "\n",
			"1 extents, 8 blocks, sum of starts 1000"},
		{"ours, no JSON", ourExtents, "x\n", ""},
		{"dumpe2fs", dumpe2fsFacts, "Group 0: (Blocks 0-32767) csum 0x1\n  Free blocks: 5-6\n" +
			"  2 free blocks, 30 free inodes, 2 directories\n" +
			"Group 1: (Blocks 32768-65535)\n  40 free blocks, 8192 free inodes, 0 directories, 8192 unused inodes\n",
			"2 groups, 42 free blocks, 8222 free inodes"},
		{"groups", groupFacts, "Group 0\n  Free clusters: 2\n  Free inodes:   30\n    Free clusters in bitmap: 2\n",
			"1 groups, 2 free blocks, 30 free inodes"},
		{"e2freefrag", freeFacts, "Total blocks: 100\nFree blocks: 42 (42.0%)\n", "42 free blocks"},
		{"freespace", freeFacts, "Free blocks:             42\n", "42 free blocks"},
		{"nothing free", freeFacts, "\n", ""},
	}
	for _, tt := range tests {
		out := filepath.Join(t.TempDir(), "out")
		if err := os.WriteFile(out, []byte(tt.out), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := tt.facts(place{out: out})
		if (err != nil) != (tt.want == "") || err == nil && got != tt.want {
			t.Errorf("%s: %q, %v", tt.name, got, err)
		}
	}
}

func TestTrees(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	for _, dir := range []string{a, b} {
		if err := os.WriteFile(dir+"/f", []byte("12345"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Link(dir+"/f", dir+"/g"); err != nil {
			t.Fatal(err)
		}
	}
	facts, err := treeFacts(place{dest: a})
	if err != nil || facts != "3 names, 2 of them hard links, 10 bytes" {
		t.Errorf("%q, %v", facts, err)
	}
	same := sameTrees("MTIME")
	if err := same(place{dest: a}, place{dest: b}); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(b+"/f", []byte("12x45"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := same(place{dest: a}, place{dest: b}); err == nil {
		t.Error("different contents were not seen")
	}
}

// Ratios are medians of ratios of a round, not ratios of medians.
func TestResult(t *testing.T) {
	j := &job{name: "j", what: "a job", goal: 0.5, peer: side{name: "p"}, ours: side{name: "e"}, others: []side{{name: "o"}}}
	r := newResult(j)
	for _, ms := range [][3]int{{100, 25, 50}, {1000, 900, 500}, {10, 2, 5}} {
		r.add(map[string]cost{
			"p": {Wall: time.Duration(ms[0]) * time.Millisecond, CPU: time.Millisecond},
			"e": {Wall: time.Duration(ms[1]) * time.Millisecond, CPU: 2 * time.Millisecond, RSS: int64(ms[1]) << 20},
			"o": {Wall: time.Duration(ms[2]) * time.Millisecond},
		})
	}
	if r.Wall != 0.25 || r.CPU != 2 || !r.Met || r.MemoryMet || r.E4kit.Wall != 0.025 || r.E4kit.RSS != 900<<20 {
		t.Errorf("%+v", r)
	}
	if r.Others[0].WallRatio != 0.5 {
		t.Errorf("other %+v", r.Others[0])
	}
	m := newResult(&job{instant: true, peer: j.peer, ours: j.ours})
	for i, ms := range []time.Duration{20, 60, 25} {
		m.add(map[string]cost{"p": r.rounds[i]["p"], "e": {Wall: ms * time.Millisecond, CPU: ms * time.Millisecond}})
	}
	if m.Wall != 0.25 || m.CPU != 25 {
		t.Errorf("ratios %v and %v of the medians", m.Wall, m.CPU)
	}
	var out bytes.Buffer
	if err := printTable(&out, []*result{r, {What: "broken", Error: "x"}}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| a job | p | 0.100 | 0.025 | **0.25** | 2.00 | 0.50 | yes, **memory** | 900 |", "the same by o", "failed"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		list []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{4, 1}, 2.5}, {[]float64{9, 1, 2}, 2}} {
		if got := median(tt.list); got != tt.want {
			t.Errorf("%v: %v", tt.list, got)
		}
	}
}

// The names of jobs are what --only matches, so they must be different.
func TestJobs(t *testing.T) {
	seen := map[string]bool{}
	for _, j := range slices.Concat(jobs(), writeJobs(smallScale), mkfsJobs(smallMkfs, true), mountJobs("small")) {
		if seen[j.name] || j.what == "" || j.goal <= 0 || j.workload == "" && j.target == nil {
			t.Errorf("job %+v", j)
		}
		seen[j.name] = true
		names := map[string]bool{}
		for _, s := range j.sides() {
			if names[s.name] || s.facts == nil || (s.commands == nil) == (s.run == nil) {
				t.Errorf("%s: side %+v", j.name, s)
			}
			names[s.name] = true
		}
	}
}

// What strace shows of an image's writes is told from other writes.
func TestWriteCall(t *testing.T) {
	for line, want := range map[string]string{
		`123 pwrite64(3, "\0\0"..., 4096, 1024) = 4096`: "4096",
		`123 write(12, "x"..., 65536) = 65536`:          "65536",
		`123 pwritev2(7, [{iov_base="x"}], 1, 0) = 8`:   "8",
		`123 write(1, "done\n", 5) = 5`:                 "",
		`123 pwrite64(3, "x", 1, 0) = -1 ENOSPC (No)`:   "",
		`123 --- SIGURG {si_signo=SIGURG} ---`:          "",
	} {
		got := ""
		if m := writeCall.FindStringSubmatch(line); m != nil {
			got = m[1]
		}
		if got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

// A source goes when no later job wants it.
func TestDropSources(t *testing.T) {
	b := &bench{ctx: t.Context(), dir: t.TempDir()}
	for _, name := range []string{"a", "b"} {
		if _, err := b.source(name, func(path string) error { return os.Mkdir(path, 0o755) }); err != nil {
			t.Fatal(err)
		}
	}
	first, second := &job{drop: []string{"a", "b"}}, &job{drop: []string{"a"}}
	if err := b.dropSources(first, []*job{second}); err != nil {
		t.Fatal(err)
	}
	if list, _ := os.ReadDir(b.dir); len(list) != 1 || list[0].Name() != "a" {
		t.Errorf("left: %v", list)
	}
	if err := b.dropSources(second, nil); err != nil {
		t.Fatal(err)
	}
	if list, _ := os.ReadDir(b.dir); len(list) != 0 {
		t.Errorf("left: %v", list)
	}
}
