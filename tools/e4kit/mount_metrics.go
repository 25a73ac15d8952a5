package main

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"

	"github.com/e4kit/e4kit/mount"
)

// metricText writes the text format of Prometheus.
type metricText struct {
	w      *bufio.Writer
	labels string // of the mount
}

// family starts a metric.
func (m *metricText) family(name, kind, help string) {
	fmt.Fprintf(m.w, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

// value writes one line; more are labels of its own.
func (m *metricText) value(name, more string, v float64) {
	labels := m.labels
	if more != "" {
		labels += "," + more
	}
	fmt.Fprintf(m.w, "%s{%s} %g\n", name, labels, v)
}

// one is a metric with one value.
func (m *metricText) one(name, kind, help string, v float64) {
	m.family(name, kind, help)
	m.value(name, "", v)
}

// metricLabel is name="value".
func metricLabel(name, value string) string {
	return name + `="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(strings.ToValidUTF8(value, "\uFFFD")) + `"`
}

// serveMetrics answers Prometheus.
func (s *mountServer) serveMetrics(w http.ResponseWriter, _ *http.Request) {
	if s.isClosed() {
		http.Error(w, "the image is closed", http.StatusGone)
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	m := &metricText{bufio.NewWriter(w), metricLabel("mountpoint", s.dir)}
	defer m.w.Flush()
	m.operations(s.server.Stats().Ops)
	m.state(s.snapshot())
}

// histogramFrom is the first class that has a line of its own: 2 µs; shorter
// times are counted there.
const histogramFrom = 10

// operations writes what was asked of the server.
func (m *metricText) operations(ops []mount.OpStats) {
	m.family("e4kit_requests_total", "counter", "Requests that were answered.")
	for _, op := range ops {
		m.value("e4kit_requests_total", metricLabel("op", op.Op), float64(op.Count))
	}
	m.family("e4kit_request_errors_total", "counter", "Requests that were answered with an error.")
	for _, op := range ops {
		m.value("e4kit_request_errors_total", metricLabel("op", op.Op), float64(op.Errors))
	}
	m.family("e4kit_request_bytes_total", "counter", "Data that requests have carried.")
	for _, op := range ops {
		if op.Bytes > 0 {
			m.value("e4kit_request_bytes_total", metricLabel("op", op.Op), float64(op.Bytes))
		}
	}
	m.family("e4kit_request_seconds", "histogram", "Time from the arrival of a request to its answer.")
	for _, op := range ops {
		m.histogram(&op)
	}
}

// histogram writes the classes of one kind of requests.
func (m *metricText) histogram(op *mount.OpStats) {
	label := metricLabel("op", op.Op)
	seen := uint64(0)
	for i, n := range op.Histogram {
		seen += n
		if i < histogramFrom || i == len(op.Histogram)-1 {
			continue
		}
		m.value("e4kit_request_seconds_bucket", fmt.Sprintf(`%s,le="%g"`, label, float64(int64(1)<<(i+1))/1e9), float64(seen))
	}
	m.value("e4kit_request_seconds_bucket", label+`,le="+Inf"`, float64(seen))
	m.value("e4kit_request_seconds_sum", label, op.Total.Seconds())
	m.value("e4kit_request_seconds_count", label, float64(seen))
}

// state writes the rest.
func (m *metricText) state(st *mountStatus) {
	m.one("e4kit_requests_in_flight", "gauge", "Requests that are being answered.", float64(st.InFlight))
	m.one("e4kit_open_files", "gauge", "Open files.", float64(st.OpenFiles))
	m.one("e4kit_nodes", "gauge", "Inodes that the kernel knows.", float64(st.Nodes))
	readOnly := 0.0
	if st.ReadOnly {
		readOnly = 1
	}
	m.one("e4kit_read_only", "gauge", "1 if nothing can be written, also after an abort of the journal.", readOnly)
	m.one("e4kit_cache_hits_total", "counter", "Metadata blocks found in the cache.", float64(st.Cache.Hits))
	m.one("e4kit_cache_misses_total", "counter", "Metadata blocks that were not in the cache.", float64(st.Cache.Misses))
	m.one("e4kit_cache_bytes", "gauge", "Content of the metadata cache.", float64(st.Cache.Size))
	m.one("e4kit_dirty_bytes", "gauge", "Metadata that is not at its place yet.", float64(st.Dirty))
	if j := st.Journal; j != nil {
		m.one("e4kit_journal_commits_total", "counter", "Transactions that were committed.", float64(j.Commits))
		m.one("e4kit_journal_checkpoints_total", "counter", "Rounds of writing metadata to its place.", float64(j.Checkpoints))
		m.one("e4kit_journal_blocks_total", "counter", "Blocks that were committed.", float64(j.Blocks))
		m.one("e4kit_journal_log_blocks", "gauge", "Blocks of the log.", float64(j.LogBlocks))
		m.one("e4kit_journal_log_used_blocks", "gauge", "Blocks of the log that are in use.", float64(j.LogUsed))
	}
	if sp := st.Space; sp != nil {
		m.one("e4kit_size_bytes", "gauge", "Size of the file system.", float64(sp.Size))
		m.one("e4kit_free_bytes", "gauge", "Free space.", float64(sp.Free))
		m.one("e4kit_available_bytes", "gauge", "Free space for others than root.", float64(sp.Available))
		m.one("e4kit_inodes", "gauge", "Inodes.", float64(sp.Inodes))
		m.one("e4kit_inodes_free", "gauge", "Free inodes.", float64(sp.InodesFree))
	}
	if o := st.Overlay; o != nil {
		m.one("e4kit_overlay_bytes", "gauge", "What the overlay file stands for.", float64(o.Written))
	}
}
