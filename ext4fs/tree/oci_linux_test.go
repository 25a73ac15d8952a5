package tree

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/e4kit/e4kit/testimages"
)

// TestFromOCI_umoci compares what umoci packs, and skopeo copies, with what
// umoci unpacks.
func TestFromOCI_umoci(t *testing.T) {
	testimages.RequireTool(t, "umoci", "skopeo", "sh")
	testimages.RequireRoot(t)
	dir := testimages.Scratch(t)
	cmd := exec.Command("sh", "-e", "-c", `
		umoci init --layout img
		umoci new --image img:base
		umoci unpack --image img:base one
		cd one/rootfs
		mkdir -p etc usr/bin var/log/deep opt/a/b
		cp /bin/sh usr/bin/sh
		echo user >etc/passwd
		ln usr/bin/sh usr/bin/sh2
		ln -s usr/bin bin
		mkfifo fifo
		mknod null c 1 3
		for f in var/log/deep/x var/log/y opt/a/b/z; do echo $f >$f; done
		setfattr -n user.note -v hello etc/passwd
		chown 1000:1001 opt
		chmod 4755 usr/bin/sh
		cd ../..
		umoci repack --image img:base one
		umoci unpack --image img:base two
		cd two/rootfs
		rm -rf var/log usr/bin/sh2 bin opt/a
		mkdir var/log bin
		echo n >var/log/n
		echo q >bin/q
		echo f >opt/a
		chmod 700 etc
		cd ../..
		umoci repack --image img:v2 two
		umoci unpack --image img:v2 ref
		skopeo --insecure-policy copy oci:img:v2 docker-archive:docker.tar:my/app:v2
		skopeo --insecure-policy copy oci:img:v2 oci-archive:oci.tar:v2
		skopeo --insecure-policy copy --dest-compress-format zstd oci:img:v2 oci:zstd:v2`)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	want := dump(t, loadAll(t, Options{}, Dir(in("ref/rootfs"))), dumpOptions{})
	for name, s := range map[string]Source{
		"layout": OCI(in("img"), "v2"), "zstd": OCI(in("zstd"), ""), "archive": OCI(in("oci.tar"), "v2"),
		"docker": Docker(in("docker.tar"), "my/app:v2"),
	} {
		if d := diff(want, dump(t, loadAll(t, Options{}, s), dumpOptions{})); d != "" {
			t.Errorf("%s:\n%s", name, d)
		}
	}
}
