package device

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// inUse finds mounts of a block device, of its partitions and of what stands
// on it, or the loop devices that a file is behind, and their mounts.
func inUse(f *os.File, isDev bool) []Use {
	mounts := readMounts("/proc/self/mountinfo")
	if isDev {
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFBLK {
			return nil
		}
		dev := fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		return usesOf("/sys", dev, mounts, 0)
	}
	var uses []Use
	for _, loop := range loopsOver(f) {
		dev := readTrimmed(filepath.Join(loop, "dev"))
		on := usesOf("/sys", dev, mounts, 0)
		if len(on) == 0 {
			on = []Use{{
				Device:   "/dev/" + filepath.Base(loop),
				ReadOnly: readTrimmed(filepath.Join(loop, "ro")) == "1",
			}}
		}
		uses = append(uses, on...)
	}
	return uses
}

// loopsOver are the sysfs folders of the loop devices with f behind them.
func loopsOver(f *os.File) []string {
	own, err := f.Stat()
	if err != nil {
		return nil
	}
	var found []string
	loops, _ := filepath.Glob("/sys/block/loop*")
	for _, loop := range loops {
		name := readTrimmed(filepath.Join(loop, "loop/backing_file"))
		if name == "" {
			continue
		}
		// A path of the past: renamed and deleted files are not found.
		if st, err := os.Stat(name); err == nil && os.SameFile(st, own) {
			found = append(found, loop)
		}
	}
	return found
}

// maxStack bounds the way up from a disk: partition, RAID, encryption, LVM.
const maxStack = 8

// usesOf finds the mounts of a device number, of its partitions, and of the
// device-mapper and RAID devices that hold it.
func usesOf(sys, dev string, mounts []mountEntry, depth int) []Use {
	if dev == "" || depth > maxStack {
		return nil
	}
	folder := filepath.Join(sys, "dev/block", dev)
	name := dev
	if target, err := os.Readlink(folder); err == nil {
		name = "/dev/" + filepath.Base(target)
	}
	var uses []Use
	for _, m := range mounts {
		if m.dev == dev {
			uses = append(uses, Use{Device: name, Mount: m.dir, Type: m.fsType, ReadOnly: m.readOnly})
		}
	}
	parts, _ := filepath.Glob(filepath.Join(folder, "*", "partition"))
	for _, p := range parts {
		uses = append(uses, usesOf(sys, readTrimmed(filepath.Join(filepath.Dir(p), "dev")), mounts, depth+1)...)
	}
	holders, _ := filepath.Glob(filepath.Join(folder, "holders", "*"))
	for _, h := range holders {
		on := usesOf(sys, readTrimmed(filepath.Join(h, "dev")), mounts, depth+1)
		if len(on) == 0 {
			on = []Use{{Device: "/dev/" + filepath.Base(h), ReadOnly: readTrimmed(filepath.Join(h, "ro")) == "1"}}
		}
		uses = append(uses, on...)
	}
	return uses
}

type mountEntry struct {
	dev, dir, fsType string
	readOnly         bool // the file system, not only this mount of it
}

// readMounts reads mountinfo, whose lines are
//
//	36 35 98:0 /root /dir rw,noatime master:1 - ext4 /dev/sda1 rw,errors=continue
//
// with any number of fields before the dash.
func readMounts(path string) []mountEntry {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	var mounts []mountEntry
	for sc := bufio.NewScanner(f); sc.Scan(); {
		before, after, ok := strings.Cut(sc.Text(), " - ")
		mount, super := strings.Fields(before), strings.Fields(after)
		if !ok || len(mount) < 5 || len(super) < 3 {
			continue
		}
		mounts = append(mounts, mountEntry{
			dev:      mount[2],
			dir:      unescapeMount.Replace(mount[4]),
			fsType:   super[0],
			readOnly: super[2] == "ro" || strings.HasPrefix(super[2], "ro,"),
		})
	}
	return mounts
}

// unescapeMount undoes the four escapes that mountinfo uses.
var unescapeMount = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// readTrimmed is the content of a sysfs file, "" if it cannot be read.
func readTrimmed(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
