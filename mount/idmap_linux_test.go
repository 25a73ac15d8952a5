package mount_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/testimages"
)

// mapped mounts dir a second time, where uid and gid id of the file system are
// those of outside. It skips the test where the kernel has no such mounts.
func mapped(t *testing.T, dir string, id, outside int) string {
	t.Helper()
	holder := exec.Command("sleep", "60") // has the map
	holder.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: id, HostID: outside, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: id, HostID: outside, Size: 1}},
		Credential:  &syscall.Credential{Uid: uint32(id), Gid: uint32(id), NoSetGroups: true},
	}
	if err := holder.Start(); err != nil {
		testimages.Absent(t, fmt.Sprintf("needs a user namespace: %v", err))
	}
	defer holder.Wait()
	defer holder.Process.Kill()
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", holder.Process.Pid))
	must(t, "namespace", err)
	defer ns.Close()
	tree, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	must(t, "open_tree", err)
	defer unix.Close(tree)
	err = unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &unix.MountAttr{
		Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(ns.Fd()),
	})
	if is(err, unix.EINVAL) && !kernelMapsFUSE(t) {
		testimages.Absent(t, "needs a kernel that maps ids of FUSE mounts")
	}
	must(t, "mount_setattr", err)
	point, err := os.MkdirTemp("", "mapped-")
	must(t, "mkdir", err)
	must(t, "chmod", os.Chmod(point, 0o755))
	must(t, "move_mount", unix.MoveMount(tree, "", unix.AT_FDCWD, point, unix.MOVE_MOUNT_F_EMPTY_PATH))
	t.Cleanup(func() {
		unix.Unmount(point, unix.MNT_DETACH)
		os.Remove(point)
	})
	return point
}

// kernelMapsFUSE: Linux 6.12 does.
func kernelMapsFUSE(t *testing.T) bool {
	t.Helper()
	var u unix.Utsname
	must(t, "uname", unix.Uname(&u))
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor); err != nil {
		t.Fatal(err)
	}
	return major > 6 || major == 6 && minor >= 12
}

// With idmap a mount of the mount maps ids; callers are who they are there.
func TestMappedIDs(t *testing.T) {
	testimages.RequireRoot(t)
	const user = 65534
	s := start(t, fresh(t, 16<<20), "allow_other,default_permissions,idmap")
	must(t, "chmod", os.Chmod(s.dir, 0o755))
	must(t, "mkdir", os.Mkdir(s.path("d"), 0o700)) // root's, which the user is through the map
	must(t, "setxattr", unix.Setxattr(s.path("d"), "trusted.secret", []byte("x"), 0))
	m := mapped(t, s.dir, 0, user)

	out, err := as(t, "set -e; cd "+m+`/d; echo content >f; ln -s f l; mkdir e; mkfifo p
		chattr +A f; cat f; stat -c %u:%g f l e p`)
	want := "content\n" + strings.Repeat(fmt.Sprintf("%d:%d\n", user, user), 4)
	if err != nil || out != want {
		t.Errorf("by the user: %v %q", err, out)
	}
	for _, name := range []string{"d/f", "d/l", "d/e", "d/p"} {
		if st := stat(t, s.path(name)); st.Uid != 0 || st.Gid != 0 {
			t.Errorf("%s belongs to %d:%d", name, st.Uid, st.Gid)
		}
	}
	// Root has no name there, and nothing is made for nobody.
	check(t, "mkdir by who is not mapped", os.Mkdir(m+"/d/none", 0o755), unix.EOVERFLOW)

	// What the kernel does not ask us for goes by the caller's process.
	var list [256]byte
	if n, err := unix.Listxattr(s.path("d"), list[:]); err != nil || !strings.Contains(string(list[:max(n, 0)]), "trusted.secret") {
		t.Errorf("root lists %q, %v", list[:max(n, 0)], err)
	}
	err = asFileUser(user, func() error {
		n, err := unix.Listxattr(m+"/d", list[:])
		if err == nil && n != 0 {
			t.Errorf("the user lists %q", list[:n])
		}
		return err
	})
	must(t, "list by the user", err)
	write(t, s.path("program"), 0o777)
	must(t, "chmod", syscall.Chmod(s.path("program"), 0o6777))
	f, err := os.OpenFile(s.path("program"), os.O_WRONLY, 0)
	must(t, "open", err)
	must(t, "fallocate by root", unix.Fallocate(int(f.Fd()), 0, 0, 8192))
	must(t, "close", f.Close())
	if got := modeOnly(t, s.path("program")); got != 0o6777 {
		t.Errorf("root's fallocate leaves mode %o", got)
	}
	if out, err := as(t, "fallocate -l 16384 "+s.path("program")); err != nil || modeOnly(t, s.path("program")) != 0o777 {
		t.Errorf("the user's fallocate leaves mode %o, %v %s", modeOnly(t, s.path("program")), err, out)
	}
	must(t, "unmount", unix.Unmount(m, 0))
	s.stop()
}

// Without it there are no such mounts.
func TestMappedIDsRefused(t *testing.T) {
	s := start(t, fresh(t, 16<<20), "allow_other,default_permissions")
	tree, err := unix.OpenTree(unix.AT_FDCWD, s.dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	must(t, "open_tree", err)
	ns, err := os.Open("/proc/self/ns/user")
	must(t, "namespace", err)
	err = unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &unix.MountAttr{
		Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(ns.Fd()),
	})
	if err == nil {
		t.Error("ids are mapped")
	}
	must(t, "close", ns.Close())
	must(t, "close", unix.Close(tree))
	s.stop()
}
