package testimages

import (
	"regexp"
	"testing"
)

func TestMatrix_buildsCleanImages(t *testing.T) {
	RequireLoop(t)
	RequireTool(t, "debugfs", "tune2fs")
	for _, c := range Matrix() {
		t.Run(c.Name, func(t *testing.T) {
			if c.Slow && testing.Short() {
				t.Skip("slow")
			}
			im := BuildFull(t, c)
			if dirty, err := NeedsRecovery(im.Path); err != nil {
				t.Fatal(err)
			} else if !dirty {
				Fsck(t, im.Path)
			}
			if len(im.Tree) < 3 {
				t.Errorf("tree of %d lines", len(im.Tree))
			}
		})
	}
}

// TestMatrix_holdsWhatItSays asks debugfs whether the point of a case is really
// in its image: a builder that quietly makes something plainer would leave a
// gap in every test of a reader.
func TestMatrix_holdsWhatItSays(t *testing.T) {
	RequireLoop(t)
	for _, c := range []struct{ name, command, want string }{
		{"ext2-rev0", "stats", `Filesystem revision #:\s+0`},
		{"ext4-desc128", "stats", `Group descriptor size:\s+128`},
		{"meta-bg", "stats", `features:.* meta_bg`},
		{"sparse-super2", "stats", `Backup block groups:\s+1 `},
		{"bigalloc-4k", "stats", `Cluster size:\s+65536`},
		{"bigalloc-1k", "stats", `First block:\s+0\n`},
		{"ext4-64k", "stats", `Block size:\s+65536`},
		{"gdt-csum", "stats", `Checksum 0x[0-9a-f]+, unused inodes|\[Inode not init`},
		{"csum-seed", "stats", `Checksum seed:\s+0x`},
		{"external-journal", "stats", `Journal UUID:\s+e4e4e4e4-ffff`},
		{"orphan-file", "stats", `Orphan file inode:\s+\d`},
		{"fast-commit", "stats", `features:.* fast_commit`},
		{"mmp", "stats", `MMP block number:\s+\d`},
		{"stable-inodes", "stats", `features:.* stable_inodes`},
		{"quota-project", "stats", `Project quota inode:\s+\d`},
		{"shared-blocks", "stats", `features:.* shared_blocks`},
		{"shared-blocks", "blocks /second", `\d+ \d+`},
		{"huge-file", "stat /huge", `Flags: 0xc0000`},
		{"inline-data", "stat /inline/file068", `Size of inline data: \d`},
		{"inline-data", "stat /inline/symlink-90", `Flags: 0x10000000`},
		{"inline-data", "stat /inline/dir04", `Flags: 0x10000000`},
		{"inline-data-1k", "stat /inline/file851", `Size of inline data: \d`},
		{"ea-inode", "stat /xattr/value65536", `user.value`},
		{"encrypt-1k", "stat /version1", `Flags: 0x80800`},
		{"casefold", "stat /folded", `Flags: 0x400[08]0000`},
		{"casefold", "htree_dump /large", `Hash Version: 1`},
		{"casefold-encrypt", "stat /secret", `Flags: 0x400[08]0800`},
		{"casefold-encrypt", "stats", `features:.* casefold`},
		{"ext4-64k", "htree_dump /many", `Number of entries \(limit\): 8187`},
		{"quota-project", "stat /owners/1", `Project: +-?\d{6}`},
		{"verity", "stat /salted", `Flags: 0x180000`},
		{"hash-legacy-signed", "htree_dump /indexed", `Hash Version: 0`},
		{"hash-half_md4-signed", "stats", `Default directory hash:\s+half_md4`},
		{"hash-half_md4-unsigned", "stats", `Filesystem flags:\s+unsigned_directory_hash`},
		{"hash-tea-unsigned", "htree_dump /indexed", `Hash Version: 2`},
		{"large-dir", "htree_dump /names", `Indirect levels: 2`},
		{"dir-nlink", "stat /many", `Links: 1 `},
		{"fragmented", "stat /gaps", `ETB[23]`},
		{"deep-extents", "dump_extents /deep", ` 5/ 5 `},
		{"100k-names", "htree_dump /names", `Indirect levels: 1`},
		{"full", "stats", `Free inodes:\s+0\n`},
		{"full", "stats", `Free blocks:\s+\d{1,3}\n`},
		{"dirty", "stats", `features:.* needs_recovery`},
		{"dirty-external", "stats", `features:.* needs_recovery`},
		{"dirty-fast-commit", "stats", `features:.* needs_recovery`},
	} {
		if Find(t, c.name).Slow && testing.Short() {
			continue
		}
		out := Debugfs(t, Build(t, Find(t, c.name)), c.command)
		if !regexp.MustCompile(c.want).MatchString(out) {
			t.Errorf("%s: %q says nothing like %s:\n%s", c.name, c.command, c.want, out[:min(len(out), 300)])
		}
	}
}

// TestFromFolder_keepsTheTree shows that what mke2fs -d makes has the manifest
// of its folder, so that this may stand for a tree that the kernel cannot show.
func TestFromFolder_keepsTheTree(t *testing.T) {
	RequireLoop(t)
	c := Case{Name: "from-folder", Size: 32 * mib, Mkfs: []string{"-b", "4096"}, make: fromFolder}
	im := BuildFull(t, c)
	WithMount(t, im.Path, "ro", func(dir string) {
		got, err := ManifestDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		if d := Diff(im.Tree, got.Without("/", "/lost+found")); d != "" {
			t.Error(d)
		}
	})
}
