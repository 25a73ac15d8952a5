package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/e4kit/e4kit/mount"
)

// mountStatus is what a server tells of itself, also in JSON. Sizes are bytes.
type mountStatus struct {
	Mountpoint string    `json:"mountpoint"`
	Image      string    `json:"image"`
	PID        int       `json:"pid"`
	Version    string    `json:"version"`
	Device     string    `json:"device"` // MAJOR:MINOR
	Since      time.Time `json:"since"`
	ReadOnly   bool      `json:"read_only"`
	Protocol   string    `json:"protocol"`
	Transport  string    `json:"transport"` // /dev/fuse or io_uring

	Operations []mountOp `json:"operations"`
	InFlight   int       `json:"in_flight"`
	Readers    int       `json:"readers"`
	OpenFiles  int       `json:"open_files"`
	Nodes      int       `json:"nodes"`
	MaxRequest int       `json:"max_request"`

	Cache   mountCache    `json:"cache"`
	Journal *mountJournal `json:"journal,omitempty"`
	Dirty   int64         `json:"dirty"` // metadata that is not at its place yet
	Space   *dfRecord     `json:"space,omitempty"`
	Overlay *mountOverlay `json:"overlay,omitempty"`
}

// mountOp is one kind of requests. Times are in nanoseconds; the percentiles
// are the upper bounds of classes that double each time.
type mountOp struct {
	Op     string `json:"op"`
	Count  uint64 `json:"count"`
	Errors uint64 `json:"errors"`
	Bytes  uint64 `json:"bytes,omitempty"`
	Total  int64  `json:"total_ns"`
	Mean   int64  `json:"mean_ns"`
	P50    int64  `json:"p50_ns"`
	P99    int64  `json:"p99_ns"`
	Max    int64  `json:"max_ns"`
}

// mountCache is the cache of metadata.
type mountCache struct {
	Hits      uint64 `json:"hits"`
	Misses    uint64 `json:"misses"`
	Evictions uint64 `json:"evictions"`
	Reads     uint64 `json:"reads"`
	Writes    uint64 `json:"writes"`
	Size      int64  `json:"size"`
	Dirty     int64  `json:"dirty"`
	Limit     int64  `json:"limit"`
}

// mountJournal is the running journal; room is counted in blocks.
type mountJournal struct {
	Running     uint32 `json:"running"` // the transaction, 0 if there is none
	Committed   uint32 `json:"committed"`
	Handles     int    `json:"handles"`
	Commits     uint64 `json:"commits"`
	Checkpoints uint64 `json:"checkpoints"`
	Blocks      uint64 `json:"blocks"`
	Revokes     uint64 `json:"revokes"`
	LogBlocks   uint32 `json:"log_blocks"`
	LogUsed     uint32 `json:"log_used"`
	Pending     int    `json:"pending"`
}

// mountOverlay is the overlay file.
type mountOverlay struct {
	Path    string `json:"path"`
	Written int64  `json:"written"`
}

// snapshot collects the status.
func (s *mountServer) snapshot() *mountStatus {
	st := s.server.Stats()
	out := &mountStatus{
		Mountpoint: s.dir, Image: s.image, PID: os.Getpid(), Version: version(), Device: st.Device, Since: st.Since,
		ReadOnly: !s.fs.Writable(), Protocol: st.Protocol, Transport: st.Transport, InFlight: st.InFlight, Readers: st.Readers,
		OpenFiles: st.OpenFiles, Nodes: st.Nodes, MaxRequest: st.MaxWrite, Operations: []mountOp{},
	}
	for _, op := range st.Ops {
		out.Operations = append(out.Operations, newMountOp(op))
	}
	c := s.fs.CacheStats()
	out.Cache = mountCache{c.Hits, c.Misses, c.Evictions, c.Reads, c.Writes, c.Bytes, c.Pinned, c.MaxBytes}
	out.Dirty = c.Pinned
	if j, ok := s.fs.JournalStats(); ok {
		out.Journal = &mountJournal{j.Running, j.Committed, j.Handles, j.Commits, j.Checkpoints, j.Blocks, j.Revokes, j.LogBlocks, j.LogUsed, j.Pending}
	}
	if space, err := s.fs.Space(); err == nil {
		out.Space = newDfRecord(s.image, space)
	}
	if s.over != nil {
		out.Overlay = &mountOverlay{s.over.Path(), s.over.Written()}
	}
	return out
}

func newMountOp(op mount.OpStats) mountOp {
	m := mountOp{Op: op.Op, Count: op.Count, Errors: op.Errors, Bytes: op.Bytes, Total: int64(op.Total), Max: int64(op.Max)}
	if op.Count > 0 {
		m.Mean = m.Total / int64(op.Count)
	}
	m.P50, m.P99 = quantile(op.Histogram[:], 50, m.Max), quantile(op.Histogram[:], 99, m.Max)
	return m
}

// quantile is the upper bound of the class in which so many percent end, but
// no more than the largest value.
func quantile(classes []uint64, percent uint64, largest int64) int64 {
	all := uint64(0)
	for _, n := range classes {
		all += n
	}
	seen := uint64(0)
	for i, n := range classes {
		if seen += n; n > 0 && seen*100 >= all*percent {
			return min(int64(1)<<(i+1), largest)
		}
	}
	return largest
}

// statusServer answers on one socket.
type statusServer struct {
	http *http.Server
	done chan struct{}
}

func serveStatus(l net.Listener, h http.Handler) *statusServer {
	s := &statusServer{&http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}, make(chan struct{})}
	go func() {
		defer close(s.done)
		s.http.Serve(l)
	}()
	return s
}

// end lets running answers end, for a moment.
func (s *statusServer) end() {
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		s.http.Close()
	}
	<-s.done
}

// startStatus listens where 'e4kit status' and 'e4kit umount' ask. The mount
// works without, so what goes wrong is only told.
func (s *mountServer) startStatus(getenv func(string) string) {
	device, err := mountedDevice(s.dir)
	if err == nil {
		var l net.Listener
		if l, err = listenStatus(ownStatusDir(getenv), device); err == nil {
			s.status = serveStatus(l, s.routes(device))
			return
		}
	}
	s.log.Warn("no socket for 'e4kit status'", "error", err)
}

// startMetrics listens for Prometheus, if that is wanted.
func (e *env) startMetrics(s *mountServer) error {
	if s.metrics == "" {
		return nil
	}
	l, err := net.Listen("tcp", s.metrics)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", s.serveMetrics)
	s.counters = serveStatus(l, mux)
	s.log.Info("metrics", "address", "http://"+l.Addr().String()+"/metrics")
	return nil
}

// endStatus ends both.
func (s *mountServer) endStatus() {
	s.status.end()
	s.counters.end()
}

// closedAnswer is the end of a mount.
type closedAnswer struct {
	Error string `json:"error,omitempty"`
}

func (s *mountServer) routes(device string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		if s.isClosed() {
			http.Error(w, "the image is closed", http.StatusGone)
			return
		}
		st := s.snapshot()
		st.Device = device
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(st)
	})
	mux.HandleFunc("GET /metrics", s.serveMetrics)
	mux.HandleFunc("GET /closed", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		http.NewResponseController(w).Flush() // says that we wait
		select {
		case <-s.closed:
		case <-r.Context().Done():
			return
		}
		var a closedAnswer
		if s.closeErr != nil {
			a.Error = s.closeErr.Error()
		}
		json.NewEncoder(w).Encode(a)
	})
	return mux
}

func (s *mountServer) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// ownStatusDir is where a server of this user listens.
func ownStatusDir(getenv func(string) string) string {
	if dir := getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "e4kit")
	}
	uid := os.Geteuid()
	if uid == 0 {
		return "/run/e4kit"
	}
	if _, err := os.Stat(userRuntime(uid)); err != nil {
		return lastStatusDir(uid)
	}
	return filepath.Join(userRuntime(uid), "e4kit")
}

// userRuntime is what XDG_RUNTIME_DIR is where a user has a session.
func userRuntime(uid int) string { return filepath.Join("/run/user", strconv.Itoa(uid)) }

// lastStatusDir is for users without a session. Everybody can make something by
// that name: it counts only if it is the user's own.
func lastStatusDir(uid int) string { return fmt.Sprintf("/tmp/e4kit-%d", uid) }

// statusSocket is the name of the socket of a mount.
func statusSocket(dir, device string) string {
	return filepath.Join(dir, strings.ReplaceAll(device, ":", "-")+".sock")
}

// listenStatus makes the socket, in a directory that only we can look into.
func listenStatus(dir, device string) (net.Listener, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := closeDir(dir); err != nil {
		return nil, err
	}
	// The number belongs to our mount: what has the name is left over.
	name := statusSocket(dir, device)
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return net.Listen("unix", name)
}

// maxStatus bounds what is read of an answer, in bytes.
const maxStatus = 16 << 20

// askStatus sends a request to the server of a mount, by one of the sockets.
// The body is the caller's to close.
func askStatus(ctx context.Context, socket, path string) (io.ReadCloser, error) {
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives: true,
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://e4kit"+path, nil)
	if err != nil {
		return nil, err
	}
	res, err := client.Do(req)
	if err != nil {
		// The address in it is none that anybody knows.
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		res.Body.Close()
		return nil, fmt.Errorf("the server says %s", res.Status)
	}
	return res.Body, nil
}
