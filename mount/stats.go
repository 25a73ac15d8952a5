package mount

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// opCount bounds the opcodes that are told apart; others count as opcode 0.
const opCount = 64

// HistogramLen is the number of classes of a latency histogram.
const HistogramLen = 32

// OpStats tells about the requests of one opcode.
type OpStats struct {
	Op     string        // the protocol's name, as LOOKUP
	Count  uint64        // answered requests
	Errors uint64        // those of them answered with an error
	Bytes  uint64        // data carried, of READ and WRITE
	Total  time.Duration // time from the request's arrival to its answer, summed
	Max    time.Duration
	// Histogram counts requests by the power of two of their nanoseconds:
	// element i those that took from 2^i to 2^(i+1)-1, the last one all longer.
	Histogram [HistogramLen]uint64
}

// Stats is a snapshot of what a server has done.
type Stats struct {
	Mountpoint string
	Device     string    // of the mount, as stat(2) shows it: MAJOR:MINOR
	Since      time.Time // when it was mounted
	Ops        []OpStats // those that came, by opcode
	Readers    int       // goroutines that take requests
	InFlight   int       // requests being answered
	OpenFiles  int       // file handles that the kernel holds
	Nodes      int       // inodes that the kernel knows
	Protocol   string    // negotiated version, as 7.45
	Transport  string    // how requests come: /dev/fuse or io_uring
	Caps       uint64    // negotiated capabilities (fuse.CAP_*)
	MaxWrite   int       // largest request in bytes
}

// opStats counts by opcode with atomics alone.
type opStats struct {
	ops [opCount]opCounter
}

// opCounter is one opcode's counters; parallel requests of one kind share it.
type opCounter struct {
	count, errors, bytes atomic.Uint64
	total, max           atomic.Int64
	hist                 [HistogramLen]atomic.Uint64
}

// add counts a request of opcode op.
func (s *opStats) add(op uint32, d time.Duration, failed bool, bytes int) {
	if op >= opCount {
		op = 0
	}
	c := &s.ops[op]
	c.count.Add(1)
	c.total.Add(int64(d))
	if failed {
		c.errors.Add(1)
	}
	if bytes > 0 {
		c.bytes.Add(uint64(bytes))
	}
	for m := c.max.Load(); int64(d) > m && !c.max.CompareAndSwap(m, int64(d)); {
		m = c.max.Load()
	}
	i := bits.Len64(uint64(max(d, 1))) - 1
	c.hist[min(i, HistogramLen-1)].Add(1)
}

// snapshot lists the opcodes that came.
func (s *opStats) snapshot() []OpStats {
	var list []OpStats
	for i := range s.ops {
		c := &s.ops[i]
		if c.count.Load() == 0 {
			continue
		}
		o := OpStats{
			Op: opName(uint32(i)), Count: c.count.Load(), Errors: c.errors.Load(), Bytes: c.bytes.Load(),
			Total: time.Duration(c.total.Load()), Max: time.Duration(c.max.Load()),
		}
		for j := range c.hist {
			o.Histogram[j] = c.hist[j].Load()
		}
		list = append(list, o)
	}
	return list
}

// opNames are the names of the protocol's opcodes.
var opNames = [opCount]string{
	0: "UNKNOWN", 1: "LOOKUP", 2: "FORGET", 3: "GETATTR", 4: "SETATTR", 5: "READLINK", 6: "SYMLINK", 8: "MKNOD",
	9: "MKDIR", 10: "UNLINK", 11: "RMDIR", 12: "RENAME", 13: "LINK", 14: "OPEN", 15: "READ", 16: "WRITE",
	17: "STATFS", 18: "RELEASE", 20: "FSYNC", 21: "SETXATTR", 22: "GETXATTR", 23: "LISTXATTR", 24: "REMOVEXATTR",
	25: "FLUSH", 26: "INIT", 27: "OPENDIR", 28: "READDIR", 29: "RELEASEDIR", 30: "FSYNCDIR", 31: "GETLK",
	32: "SETLK", 33: "SETLKW", 34: "ACCESS", 35: "CREATE", 36: "INTERRUPT", 37: "BMAP", 38: "DESTROY",
	39: "IOCTL", 40: "POLL", 41: "NOTIFY_REPLY", 42: "BATCH_FORGET", 43: "FALLOCATE", 44: "READDIRPLUS",
	45: "RENAME2", 46: "LSEEK", 47: "COPY_FILE_RANGE", 48: "SETUPMAPPING", 49: "REMOVEMAPPING", 50: "SYNCFS",
	51: "TMPFILE", 52: "STATX", 53: "COPY_FILE_RANGE_64",
}

// opName returns the name of an opcode.
func opName(op uint32) string {
	if op < opCount && opNames[op] != "" {
		return opNames[op]
	}
	return opNames[0]
}
