package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/e4kit/e4kit/testimages"
)

// changeSetup makes what the commands work on.
const changeSetup = `
mkdir -p d/sub/deep e x 'odd *name' etc
echo one >f; echo two >g; head -c 300000 /dev/urandom >big
truncate -s 1M sparse; echo tail >>sparse
ln f hard; ln -s f link; ln -s d dlink; ln -s nowhere dangling
echo a >d/a; echo b >d/sub/b; echo c >d/sub/deep/c; echo x >d/run.sh
chmod 755 d/run.sh; chmod 4755 g; chmod 2775 e; chmod 640 big
echo q >'odd *name/?'
mknod dev c 1 3; mkfifo fifo
printf 'root:x:0:0::/:/bin/sh\nada:x:1000:1001::/:/bin/sh\n' >etc/passwd
printf 'root:x:0:\nstaff:x:50:ada\n' >etc/group
chown -R 1000:50 x d/sub; chmod 700 x
find . -exec touch -h -d '2024-05-06 07:08:09.123456789 Z' {} +
`

// TestChange_kernel runs a command on a mounted image, and the same one of ours
// on a copy: the trees are to be the same, and so is success.
func TestChange_kernel(t *testing.T) {
	testimages.RequireLoop(t)
	base := filepath.Join(testimages.Scratch(t), "base.img")
	testimages.Mkfs(t, base, 64<<20)
	testimages.WithMount(t, base, "", func(dir string) { shell(t, dir, changeSetup) })
	for _, tt := range []struct {
		kernel string // for a shell in the mounted root
		ours   string // IMG is the image
	}{
		{"mkdir n", "mkdir IMG:/n"},
		{"mkdir -m 2700 n e/n", "mkdir -m 2700 IMG:/n IMG:/e/n"},
		{"mkdir -m u=rwx,go= n", "mkdir -m u=rwx,go= IMG:/n"},
		{"mkdir d", "mkdir IMG:/d"},
		{"mkdir -p d/1/2/3 dlink/4", "mkdir -p IMG:/d/1/2/3 IMG:/dlink/4"},
		{"mkdir -p -m 711 a/b/c", "mkdir -p -m 711 IMG:/a/b/c"},
		{"mkdir -p f/x", "mkdir -p IMG:/f/x"},
		{"mkdir no/x", "mkdir IMG:/no/x"},
		{"rm f dangling link fifo", "rm IMG:/f IMG:/dangling IMG:/link IMG:/fifo"},
		{"rm nope f", "rm IMG:/nope IMG:/f"},
		{"rm -f nope f", "rm -f IMG:/nope IMG:/f"},
		{"rm d", "rm IMG:/d"},
		{"rm -r d dlink", "rm -r IMG:/d IMG:/dlink"},
		{"rm -rf d* odd*", "rm -rf IMG:/d* IMG:/odd*"},
		{"rm -d x e d", "rm -d IMG:/x IMG:/e IMG:/d"},
		{"rm dlink/", "rm IMG:/dlink/"},
		{"rmdir x e", "rmdir IMG:/x IMG:/e"},
		{"rmdir d f", "rmdir IMG:/d IMG:/f"},
		{"rm -r d/a d/run.sh d/sub/b d/sub/deep/c; rmdir -p d/sub/deep", "rm IMG:/d/a IMG:/d/run.sh IMG:/d/sub/b IMG:/d/sub/deep/c; rmdir -p IMG:/d/sub/deep"},
		{"rmdir --ignore-fail-on-non-empty d x", "rmdir --ignore-fail-on-non-empty IMG:/d IMG:/x"},
		{"mv f new", "mv IMG:/f IMG:/new"},
		{"mv f g", "mv IMG:/f IMG:/g"},
		{"mv f g d", "mv IMG:/f IMG:/g IMG:/d"},
		{"mv f hard", "mv IMG:/f IMG:/hard"},
		{"mv -n f g", "mv -n IMG:/f IMG:/g"},
		{"mv d x", "mv IMG:/d IMG:/x"},
		{"mv -T d x", "mv -T IMG:/d IMG:/x"},
		{"mv -T x d", "mv -T IMG:/x IMG:/d"},
		{"mv d d/sub", "mv IMG:/d IMG:/d/sub"},
		{"mv f dlink", "mv IMG:/f IMG:/dlink"},
		{"mv -T f dlink", "mv -T IMG:/f IMG:/dlink"},
		{"mv link dangling x", "mv IMG:/link IMG:/dangling IMG:/x"},
		{"mv -t x f g", "mv -t IMG:/x IMG:/f IMG:/g"},
		{"mv f nope/", "mv IMG:/f IMG:/nope/"},
		{"mv d f", "mv IMG:/d IMG:/f"},
		{"ln f new; ln f d", "ln IMG:/f IMG:/new; ln IMG:/f IMG:/d"},
		{"ln f g", "ln IMG:/f IMG:/g"},
		{"ln -f f g", "ln -f IMG:/f IMG:/g"},
		{"ln d new", "ln IMG:/d IMG:/new"},
		{"ln -P link l2; ln -L link l3", "ln -P IMG:/link IMG:/l2; ln -L IMG:/link IMG:/l3"},
		{"ln -s any/where new; ln -s ../q d; ln -s z f", "ln -s any/where IMG:/new; ln -s ../q IMG:/d; ln -s z IMG:/f"},
		{"ln -sf z f; ln -sfn e dlink", "ln -sf z IMG:/f; ln -sfn e IMG:/dlink"},
		{"ln -s " + strings.Repeat("x", 200) + " long", "ln -s " + strings.Repeat("x", 200) + " IMG:/long"},
		{"touch -d '2020-01-02 03:04:05.6 Z' f new link", "touch -d '2020-01-02 03:04:05.6 Z' IMG:/f IMG:/new IMG:/link"},
		{"touch -h -d @1.5 link", "touch -h -d @1.5 IMG:/link"},
		{"touch -c nope; touch -m -r big f", "touch -c IMG:/nope; touch -m -r IMG:/big IMG:/f"},
		{"TZ=UTC touch -t 202001020304.05 f", "touch -t 202001020304.05 IMG:/f"},
		{"touch dangling", "touch IMG:/dangling"},
		{"chmod 640 f g d", "chmod 640 IMG:/f IMG:/g IMG:/d"},
		{"chmod 0755 e; chmod 00755 e", "chmod 0755 IMG:/e; chmod 00755 IMG:/e"},
		{"chmod 755 e", "chmod 755 IMG:/e"},
		{"chmod -R u=rwX,g=rX,o= d", "chmod -R u=rwX,g=rX,o= IMG:/d"},
		{"chmod a-x,+t,g=u d", "chmod a-x,+t,g=u IMG:/d"},
		{"chmod -w f; chmod o=u-w g; chmod =rw big", "chmod -w IMG:/f; chmod o=u-w IMG:/g; chmod =rw IMG:/big"},
		{"chmod u+s,g+s,o+t f e; chmod ug-s g", "chmod u+s,g+s,o+t IMG:/f IMG:/e; chmod ug-s IMG:/g"},
		{"chmod --reference=g f link", "chmod --reference IMG:/g IMG:/f IMG:/link"},
		{"chmod 600 nope f", "chmod 600 IMG:/nope IMG:/f"},
		{"chown 7:8 f g", "chown 7:8 IMG:/f IMG:/g"},
		{"chown 1000:1001 f; chown :50 d; chown 1000 link", "chown ada: IMG:/f; chown :staff IMG:/d; chown ada IMG:/link"},
		{"chown -h 7 link; chown -R 9:9 d dlink", "chown -h 7 IMG:/link; chown -R 9:9 IMG:/d IMG:/dlink"},
		{"truncate -s 5 big; truncate -s +1M f; truncate -s %4K g; truncate -s -1 sparse", "truncate -s 5 IMG:/big; truncate -s +1M IMG:/f; truncate -s %4K IMG:/g; truncate -s -1 IMG:/sparse"},
		{"truncate -s '<100' big; truncate -s '>100' f; truncate -s 7 new; truncate -c -s 7 nope", "truncate -s <100 IMG:/big; truncate -s >100 IMG:/f; truncate -s 7 IMG:/new; truncate -c -s 7 IMG:/nope"},
		{"truncate -r big f; truncate -s 1 d", "truncate -r IMG:/big IMG:/f; truncate -s 1 IMG:/d"},
		{"fallocate -l 100K new; fallocate -n -l 1M f; fallocate -p -o 4096 -l 8192 big", "fallocate -l 100K IMG:/new; fallocate -n -l 1M IMG:/f; fallocate -p -o 4096 -l 8192 IMG:/big"},
		{"fallocate -z -o 100 -l 5000 big; fallocate -c -o 8192 -l 4096 big; fallocate -i -o 4096 -l 4096 big", "fallocate -z -o 100 -l 5000 IMG:/big; fallocate -c -o 8192 -l 4096 IMG:/big; fallocate -i -o 4096 -l 4096 IMG:/big"},
		{"mknod n1 b 8 17; mknod -m 600 n2 c 300 70000; mknod n3 p", "mknod IMG:/n1 b 8 17; mknod -m 600 IMG:/n2 c 300 70000; mknod IMG:/n3 p"},
		{"mknod f p", "mknod IMG:/f p"},
		{"chattr +i f; rm -f f; chattr -i f; chattr +a g; chattr =d d", "chattr +i IMG:/f; rm -f IMG:/f; chattr -i IMG:/f; chattr +a IMG:/g; chattr =d IMG:/d"},
		{"setfattr -n user.a -v text f; setfattr -n user.b -v 0x00ff f; setfattr -n trusted.c -v 0saGk= d", "setfattr -n user.a -v text IMG:/f; setfattr -n user.b -v 0x00ff IMG:/f; setfattr -n trusted.c -v 0saGk= IMG:/d"},
		{"setfattr -n user.a -v text f; setfattr -x user.a f; setfattr -x user.a f", "setfattr -n user.a -v text IMG:/f; setfattr -x user.a IMG:/f; setfattr -x user.a IMG:/f"},
		{"setfattr -n user.a -v 1 dev", "setfattr -n user.a -v 1 IMG:/dev"},
		{"setfacl -m u:1000:rw,g:50:r f; setfacl -m m::r f", "setfacl -m u:ada:rw,g:staff:r IMG:/f; setfacl -m m::r IMG:/f"},
		{"setfacl -m d:u:1000:rwx,u:5:x d; setfacl -x u:5 d", "setfacl -m d:u:1000:rwx,u:5:x IMG:/d; setfacl -x u:5 IMG:/d"},
		{"setfacl -R -m u:1000:rwX d", "setfacl -R -m u:1000:rwX IMG:/d"},
		{"setfacl -R -d -m g:50:rX,o::- d", "setfacl -R -d -m g:50:rX,o::- IMG:/d"},
		{"setfacl -m u:1000:rwx,d:u:1000:rwx d; setfacl -k d; setfacl -b d", "setfacl -m u:1000:rwx,d:u:1000:rwx IMG:/d; setfacl -k IMG:/d; setfacl -b IMG:/d"},
		{"setfacl --set u::rw,g::-,o::r,u:3:w f", "setfacl --set u::rw,g::-,o::r,u:3:w IMG:/f"},
		{"setfacl -n -m u:1000:rwx f; setfacl -m u::r d", "setfacl -n -m u:1000:rwx IMG:/f; setfacl -m u::r IMG:/d"},
		{"setfacl -d -m u:1000:rwx d; mkdir d/n; cp ONE d/file", "setfacl -d -m u:1000:rwx IMG:/d; mkdir IMG:/d/n; cp ONE IMG:/d/file"},
		{"setfacl -m u:1000:rwx d; chmod 705 d", "setfacl -m u:1000:rwx IMG:/d; chmod 705 IMG:/d"},
		{"cp f new; cp f g d", "cp IMG:/f IMG:/new; cp IMG:/f IMG:/g IMG:/d"},
		{"cp -r d new; cp -r d/. e", "cp -r IMG:/d IMG:/new; cp -r IMG:/d/. IMG:/e"},
		{"cp -a d new; cp -a x d link dangling dev fifo hard f new", "cp -a IMG:/d IMG:/new; cp -a IMG:/x IMG:/d IMG:/link IMG:/dangling IMG:/dev IMG:/fifo IMG:/hard IMG:/f IMG:/new"},
		{"cp -a sparse big x", "cp -a IMG:/sparse IMG:/big IMG:/x"},
		{"cp d new", "cp IMG:/d IMG:/new"},
		{"cp ONE ONE2 d; cp ONE g; touch .", "cp ONE ONE2 IMG:/d; cp ONE IMG:/g; touch IMG:/"}, // the new g has another inode
		{"cp -p ONE new; cp -n ONE f; cp -T ONE d", "cp -p ONE IMG:/new; cp -n ONE IMG:/f; cp -T ONE IMG:/d"},
		{"cat ONE >new", "cp - IMG:/new <ONE"},
		{"cp ONE dangling", "cp ONE IMG:/dangling"},
		{"cp ONE no/new", "cp ONE IMG:/no/new"},
		{"cp -rL dlink new", "cp -rL IMG:/dlink IMG:/new"},
		{"tar -xf TAR -C d", "tar -x -f TAR IMG:/d"},
		{"tar -xf TAR.zst -C d --strip-components=1", "tar -x -f TAR.zst IMG:/d --strip-components=1"},
	} {
		t.Run(strings.ReplaceAll(tt.kernel, "/", "_"), func(t *testing.T) { changeBoth(t, base, tt.kernel, tt.ours) })
	}
}

func shell(t testing.TB, dir, script string) error {
	t.Helper()
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if len(out) > 0 {
		t.Logf("sh: %s", out)
	}
	return err
}

// changeBoth runs both commands and compares.
func changeBoth(t *testing.T, base, kernel, ours string) {
	host := testimages.Scratch(t)
	one := filepath.Join(host, "one")
	shell(t, host, `echo content >one; echo other >two; chmod 750 one; touch -d '2023-01-01 Z' one two
mkdir -p t/in/side; echo 1 >t/in/1; ln t/in/1 t/in/side/2; ln -s ../1 t/in/side/l; truncate -s 1M t/in/s; echo e >>t/in/s
chmod 4711 t/in/1; chown 12:13 t/in/side; mknod t/in/d b 7 9
find t -exec touch -h -d '2022-02-02 02:02:02 Z' {} +
tar --format=pax -S -cf tar -C t in; zstd -q tar`)
	for from, to := range map[string]string{"ONE2": filepath.Join(host, "two"), "TAR": filepath.Join(host, "tar")} {
		kernel, ours = strings.ReplaceAll(kernel, from, to), strings.ReplaceAll(ours, from, to)
	}
	kernel, ours = strings.ReplaceAll(kernel, "ONE", one), strings.ReplaceAll(ours, "ONE", one)
	theirs, img := testimages.Copy(t, base), testimages.Copy(t, base)
	var kernelErr error
	testimages.WithMount(t, theirs, "", func(dir string) { kernelErr = shell(t, dir, kernel) })
	code := 0
	for _, line := range strings.Split(ours, "; ") {
		var w world
		if cmd, file, ok := strings.Cut(line, " <"+host); ok {
			data, err := os.ReadFile(host + file)
			if err != nil {
				t.Fatal(err)
			}
			line, w.stdin = cmd, string(data)
		}
		r := w.run(words(strings.ReplaceAll(line, "IMG", img))...)
		if r.stderr != "" {
			t.Logf("e4kit: %s", r.stderr)
		}
		code = r.code
	}
	if (kernelErr != nil) != (code != 0) {
		t.Errorf("status %d, the kernel's way gives %v", code, kernelErr)
	}
	testimages.Fsck(t, img)
	if diff := testimages.Diff(maskNow(tree2(t, theirs)), maskNow(tree2(t, img))); diff != "" {
		t.Errorf("trees differ (- kernel, + e4kit):\n%s", diff)
	}
}

func tree2(t testing.TB, img string) testimages.Manifest {
	t.Helper()
	var m testimages.Manifest
	testimages.WithMount(t, img, "ro", func(dir string) {
		var err error
		if m, err = testimages.ManifestDir(dir); err != nil {
			t.Fatal(err)
		}
	})
	return m
}

// maskNow hides times that are those of the command.
func maskNow(m testimages.Manifest) testimages.Manifest {
	limit := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	var out testimages.Manifest
	for _, line := range m {
		fields := strings.Split(line, " ")
		for n, f := range fields {
			seconds, _, _ := strings.Cut(f, ".")
			if sec, err := strconv.ParseInt(seconds, 10, 64); err == nil && n == 7 && sec > limit {
				fields[n] = "4102444800.000000000"
			}
		}
		out = append(out, strings.Join(fields, " "))
	}
	return out
}
