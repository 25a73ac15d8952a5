package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// memoryBound is what e4kit may take at most in any job that says nothing else.
const memoryBound = 100 << 20

// result is what a job gave.
type result struct {
	Job       string     `json:"job"`
	What      string     `json:"what"`
	Goal      float64    `json:"goal"`
	Rounds    int        `json:"rounds"`
	Peer      sideResult `json:"peer"`
	E4kit     sideResult `json:"e4kit"`
	Wall      float64    `json:"wall_ratio"` // see ratios
	CPU       float64    `json:"cpu_ratio"`
	Met       bool       `json:"met"`
	MemoryMet bool       `json:"memory_met"`
	Others    []*other   `json:"others,omitempty"`
	Error     string     `json:"error,omitempty"`

	rounds  []map[string]cost
	memory  int64
	medians bool // are compared, not the runs of a round
}

// sideResult is the median of what a side took.
type sideResult struct {
	Name string  `json:"name"`
	Wall float64 `json:"wall_seconds"`
	CPU  float64 `json:"cpu_seconds"`
	RSS  int64   `json:"peak_rss_bytes"` // the largest

	Figures *figures `json:"figures,omitempty"`
}

// other is a further program compared with the peer.
type other struct {
	sideResult
	WallRatio float64 `json:"wall_ratio"`
	CPURatio  float64 `json:"cpu_ratio"`
}

func newResult(j *job) *result {
	r := &result{Job: j.name, What: j.what, Goal: j.goal, memory: memoryBound, medians: j.instant}
	if j.memory != 0 {
		r.memory = j.memory
	}
	r.Peer.Name, r.E4kit.Name = j.peer.name, j.ours.name
	for _, s := range j.others {
		o := &other{}
		o.Name = s.name
		r.Others = append(r.Others, o)
	}
	return r
}

// tell takes in the figures of the sides.
func (r *result) tell(told map[string]figures) {
	for _, s := range r.sides() {
		if f, ok := told[s.Name]; ok {
			s.Figures = &f
		}
	}
}

func (r *result) sides() []*sideResult {
	list := []*sideResult{&r.Peer, &r.E4kit}
	for _, o := range r.Others {
		list = append(list, &o.sideResult)
	}
	return list
}

// add takes in a round and computes everything anew.
func (r *result) add(costs map[string]cost) {
	r.rounds = append(r.rounds, costs)
	r.Rounds = len(r.rounds)
	r.side(&r.Peer)
	r.side(&r.E4kit)
	r.Wall, r.CPU = r.ratios(&r.E4kit)
	r.Met = r.Wall <= r.Goal
	r.MemoryMet = r.E4kit.RSS <= r.memory
	for _, o := range r.Others {
		r.side(&o.sideResult)
		o.WallRatio, o.CPURatio = r.ratios(&o.sideResult)
	}
}

func (r *result) side(s *sideResult) {
	var walls, cpus []float64
	for _, c := range r.rounds {
		walls = append(walls, c[s.Name].Wall.Seconds())
		cpus = append(cpus, c[s.Name].CPU.Seconds())
		s.RSS = max(s.RSS, c[s.Name].RSS)
	}
	s.Wall, s.CPU = median(walls), median(cpus)
}

// ratios are those of s to the peer: the medians of the rounds' ratios, since
// what else the machine does in a round disturbs both. It does not where a round
// is a few milliseconds: then they are the ratios of the medians.
func (r *result) ratios(s *sideResult) (wall, cpu float64) {
	const least = 1e-6
	if r.medians {
		return s.Wall / max(r.Peer.Wall, least), s.CPU / max(r.Peer.CPU, least)
	}
	var walls, cpus []float64
	for _, c := range r.rounds {
		walls = append(walls, c[s.Name].Wall.Seconds()/max(c[r.Peer.Name].Wall.Seconds(), least))
		cpus = append(cpus, c[s.Name].CPU.Seconds()/max(c[r.Peer.Name].CPU.Seconds(), least))
	}
	return median(walls), median(cpus)
}

func median(list []float64) float64 {
	if len(list) == 0 {
		return 0
	}
	list = slices.Sorted(slices.Values(list))
	n := len(list) / 2
	if len(list)%2 == 1 {
		return list[n]
	}
	return (list[n-1] + list[n]) / 2
}

// lastRound is the newest round in one line.
func (r *result) lastRound() string {
	c := r.rounds[len(r.rounds)-1]
	show := func(name string) string {
		return fmt.Sprintf("%s %s s (cpu %s)", name, seconds(c[name].Wall), seconds(c[name].CPU))
	}
	line := show(r.Peer.Name) + ", " + show(r.E4kit.Name)
	for _, o := range r.Others {
		line += ", " + show(o.Name)
	}
	return line
}

// printTable writes the results as a Markdown table.
func printTable(w io.Writer, results []*result) error {
	var b bytes.Buffer
	b.WriteString("| job | peer | peer, s | e4kit, s | wall ratio | CPU ratio | goal | met | e4kit peak, MiB |\n")
	b.WriteString("|---|---|---:|---:|---:|---:|---:|---|---:|\n")
	for _, r := range results {
		if r.Error != "" {
			fmt.Fprintf(&b, "| %s | %s | | | | | %.2f | failed | |\n", r.What, r.Peer.Name, r.Goal)
			continue
		}
		met := "yes"
		if !r.Met {
			met = "**no**"
		}
		if !r.MemoryMet {
			met += ", **memory**"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | **%.2f** | %.2f | %.2f | %s | %d |\n", r.What, r.Peer.Name,
			toSeconds(r.Peer.Wall), toSeconds(r.E4kit.Wall), r.Wall, r.CPU, r.Goal, met, r.E4kit.RSS>>20)
		for _, o := range r.Others {
			fmt.Fprintf(&b, "| – the same by %s | %s | %s | %s | %.2f | %.2f | | | %d |\n", o.Name, r.Peer.Name,
				toSeconds(r.Peer.Wall), toSeconds(o.Wall), o.WallRatio, o.CPURatio, o.RSS>>20)
		}
	}
	printFigures(&b, results)
	_, err := w.Write(b.Bytes())
	return err
}

// printFigures writes what the jobs tell beside times.
func printFigures(b *bytes.Buffer, results []*result) {
	for _, r := range results {
		var list []string
		for _, s := range r.sides() {
			if s.Figures != nil {
				list = append(list, s.Name+": "+s.Figures.String())
			}
		}
		if len(list) > 0 {
			fmt.Fprintf(b, "\n%s: %s\n", r.What, strings.Join(list, "; "))
		}
	}
}

func toSeconds(s float64) string { return seconds(time.Duration(s * float64(time.Second))) }
