package dump

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/testimages"
)

// cost is what one run of a program took.
type cost struct{ wall, cpu time.Duration }

// runCost runs a program and throws its output away.
func runCost(b *testing.B, name string, args ...string) cost {
	b.Helper()
	cmd := exec.Command(name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	start := time.Now()
	if err := cmd.Run(); err != nil {
		b.Fatalf("%s: %v: %s", name, err, stderr.Bytes())
	}
	return cost{time.Since(start), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
}

// buildProgram builds e4kit for a benchmark.
func buildProgram(b *testing.B) string {
	b.Helper()
	name := filepath.Join(b.TempDir(), "e4kit")
	cmd := exec.Command("go", "build", "-o", name, "../tools/e4kit")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	return name
}

// against runs e4kit and a peer in turns and reports the medians of the ratios
// of each pair.
func against(b *testing.B, ours, peer []string) {
	b.Helper()
	testimages.RequireTool(b, peer[0])
	program := buildProgram(b)
	var wall, cpu, own, other []float64
	for b.Loop() {
		p := runCost(b, peer[0], peer[1:]...)
		o := runCost(b, program, ours...)
		wall = append(wall, float64(o.wall)/float64(p.wall))
		cpu = append(cpu, float64(o.cpu)/float64(max(p.cpu, time.Millisecond)))
		own, other = append(own, o.wall.Seconds()*1000), append(other, p.wall.Seconds()*1000)
	}
	b.ReportMetric(median(wall), "wall-ratio")
	b.ReportMetric(median(cpu), "cpu-ratio")
	b.ReportMetric(median(own), "e4kit-ms")
	b.ReportMetric(median(other), "peer-ms")
	b.ReportMetric(0, "ns/op")
}

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

// BenchmarkGroups is the dump of all groups with their bitmaps against
// dumpe2fs, which shows the same. Goal: 0.4.
func BenchmarkGroups(b *testing.B) {
	img := testimages.WorkloadImage(b, "sparse")
	against(b, []string{"dump", "groups", "--long", img}, []string{"dumpe2fs", img})
}

// BenchmarkFreeSpace is the histogram of free runs against e2freefrag. Goal:
// 0.4.
func BenchmarkFreeSpace(b *testing.B) {
	img := testimages.WorkloadImage(b, "sparse")
	against(b, []string{"freespace", img}, []string{"e2freefrag", img})
}

// BenchmarkExtentsOfAll is the list of all extents against debugfs, which is
// told the numbers of all inodes. Goal: 0.25.
func BenchmarkExtentsOfAll(b *testing.B) {
	for _, name := range []string{"root", "small", "extents"} {
		b.Run(name, func(b *testing.B) {
			img := testimages.WorkloadImage(b, name)
			im := openImage(b, img, ext4fs.Options{})
			script := filepath.Join(b.TempDir(), "script")
			var commands bytes.Buffer
			for i, err := range im.fs.Inodes() {
				if err != nil {
					b.Fatal(err)
				}
				if i.Flags().Has(disk.FlagExtents) { // ex knows only extents
					fmt.Fprintf(&commands, "ex <%d>\n", i.Number())
				}
			}
			if err := os.WriteFile(script, commands.Bytes(), 0o600); err != nil {
				b.Fatal(err)
			}
			for _, form := range []string{"text", "json"} {
				b.Run(form, func(b *testing.B) {
					args := []string{"extents", "--all", img}
					if form == "json" {
						args = append(args, "--json")
					}
					against(b, args, []string{"debugfs", "-f", script, img})
				})
			}
		})
	}
}

// BenchmarkGroupValues is the part of BenchmarkGroups without a process.
func BenchmarkGroupValues(b *testing.B) {
	im := openImage(b, testimages.WorkloadImage(b, "sparse"), ext4fs.Options{})
	for b.Loop() {
		for g, err := range im.Groups(context.Background(), true) {
			if err == nil {
				err = g.WriteText(io.Discard)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkScan is the walk over all inodes and their maps.
func BenchmarkScan(b *testing.B) {
	im := openImage(b, testimages.WorkloadImage(b, "root"), ext4fs.Options{})
	b.ReportAllocs()
	for b.Loop() {
		var stats ExtentStats
		for s, err := range Scan(context.Background(), im, ScanOptions{Verify: true}, func(s *ExtentStats, f *File) { s.Add(f) }) {
			if err != nil {
				b.Fatal(err)
			}
			stats.Merge(s)
		}
	}
}
