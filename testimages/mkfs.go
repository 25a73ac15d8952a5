package testimages

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// mkfsConfText is the configuration that mke2fs reads in place of the host's:
// an image must not depend on the machine that made it.
const mkfsConfText = `[defaults]
	base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr
	default_mntopts = acl,user_xattr
	enable_periodic_fsck = 0
	blocksize = 4096
	inode_size = 256
	inode_ratio = 16384
[fs_types]
	ext2 = {
		inode_size = 128
	}
	ext3 = {
		features = has_journal
		inode_size = 128
	}
	ext4 = {
		features = has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize
	}
	floppy = {
	}
	small = {
	}
	big = {
	}
	huge = {
	}
`

// mkfsConf writes that file once and returns its path.
var mkfsConf = sync.OnceValues(func() (string, error) {
	top, err := scratchRoot()
	if err != nil {
		return "", err
	}
	path := filepath.Join(top, "mke2fs.conf")
	return path, os.WriteFile(path, []byte(mkfsConfText), 0o644)
})

// Fixed identities, tables written in full: a second run yields the same image.
const (
	fixedUUID = "e4e4e4e4-0102-4304-8506-0708090a0b0c"
	fixedExt  = "nodiscard,lazy_itable_init=0,lazy_journal_init=0,hash_seed=0f1e2d3c-4b5a-4978-8796-a5b4c3d2e1f0"
)

// MakeFS makes an ext file system with mke2fs in the file path, which becomes
// size bytes long. args follow mke2fs(8); where mke2fs would heed only the
// last -O or -E, all of them count here. ext4 is made when no -t is given.
func MakeFS(path string, size int64, args ...string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	err = f.Truncate(size)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if _, err := run("mke2fs", append(mkfsArgs(args), path)...); err != nil {
		return err
	}
	trust(path)
	return nil
}

// mkfsArgs joins the -O and -E lists of args and adds the fixed arguments.
func mkfsArgs(args []string) []string {
	var features, rest []string
	ext := []string{fixedExt}
	typed, named := false, false
	for i := 0; i < len(args); i++ {
		switch a := args[i]; {
		case a == "-O" && i+1 < len(args):
			i++
			features = append(features, args[i])
		case a == "-E" && i+1 < len(args):
			i++
			ext = append(ext, args[i])
		default:
			typed = typed || a == "-t"
			named = named || a == "-U"
			rest = append(rest, a)
		}
	}
	all := []string{"-F", "-q", "-E", strings.Join(ext, ",")}
	if !typed {
		all = append(all, "-t", "ext4")
	}
	if !named {
		all = append(all, "-U", fixedUUID)
	}
	if len(features) > 0 {
		all = append(all, "-O", strings.Join(features, ","))
	}
	return append(all, rest...)
}

// Mkfs is [MakeFS] for tests: it skips where mke2fs is absent and is fatal on
// failure.
func Mkfs(t testing.TB, path string, size int64, args ...string) {
	t.Helper()
	RequireTool(t, "mke2fs")
	if err := MakeFS(path, size, args...); err != nil {
		t.Fatal(err)
	}
}
