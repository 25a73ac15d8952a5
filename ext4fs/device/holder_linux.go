package device

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// QEMU keeps one byte of the file read-locked for each permission that it
// uses; this is the byte for writing. (It never takes write locks.)
const qemuWriting = 101

// recordLocked asks whether somebody has an fcntl lock that says that the file
// is being written: a write lock anywhere, or QEMU's. With exclusive any lock
// is in the way.
func recordLocked(f *os.File, exclusive bool) (pid int, busy bool) {
	type test struct {
		kind       int16
		start, len int64
	}
	tests := []test{{unix.F_RDLCK, 0, 0}, {unix.F_WRLCK, qemuWriting, 1}}
	if exclusive {
		tests = []test{{unix.F_WRLCK, 0, 0}}
	}
	for _, t := range tests {
		lk := unix.Flock_t{Type: t.kind, Start: t.start, Len: t.len}
		if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lk); err != nil {
			return 0, false // no such locks here
		}
		if lk.Type != unix.F_UNLCK {
			if lk.Pid > 0 {
				return int(lk.Pid), true
			}
			// An open file owns it; /proc/locks may still know a process.
			return lockHolder(f, "OFDLCK", "POSIX"), true
		}
	}
	return 0, false
}

// flockHolder finds the process that has the file flocked.
func flockHolder(f *os.File) int { return lockHolder(f, "FLOCK") }

// lockHolder looks through /proc/locks, whose lines are
//
//	1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF
//
// with the process, and the device (hexadecimal) and inode of the file. It is 0 when
// no process can be found; this one only when there is no other.
func lockHolder(f *os.File, kinds ...string) int {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0
	}
	file := fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)
	locks, err := os.Open("/proc/locks")
	if err != nil {
		return 0
	}
	defer locks.Close()
	self := os.Getpid()
	own := 0
	for sc := bufio.NewScanner(locks); sc.Scan(); {
		// A waiter's line has "->" in the second place and is not a holder.
		fields := strings.Fields(sc.Text())
		if len(fields) < 6 || fields[5] != file || !oneOf(fields[1], kinds) {
			continue
		}
		pid, err := strconv.Atoi(fields[4])
		switch {
		case err != nil || pid <= 0: // of another namespace
		case pid == self:
			own = self
		default:
			return pid
		}
	}
	return own
}

func oneOf(s string, list []string) bool {
	for _, x := range list {
		if s == x {
			return true
		}
	}
	return false
}

// processName is "" for 0.
func processName(pid int) string {
	switch pid {
	case 0:
		return ""
	case os.Getpid():
		return "this process"
	}
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return fmt.Sprintf("process %d", pid)
	}
	return fmt.Sprintf("process %d (%s)", pid, strings.TrimSpace(string(name)))
}
