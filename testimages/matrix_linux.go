package testimages

import "slices"

// Matrix lists the images that every reader must understand, one per feature
// set. Names are stable; tests may look one up with [Find].
func Matrix() []Case {
	return slices.Concat(geometryCases(), featureCases(), inodeCases(), indexCases(), specialCases())
}

// geometryCases vary block sizes and the layout of groups.
func geometryCases() []Case {
	return []Case{
		{Name: "ext2-1k", Covers: "ext2: block map, no journal, 128-byte inodes, 1 KiB blocks",
			Size: 24 * mib, Mkfs: []string{"-t", "ext2", "-b", "1024"}, Kernel: true, fill: Fill{BlockSize: 1024}},
		{Name: "ext2-4k", Covers: "ext2 with 4 KiB blocks",
			Size: 32 * mib, Mkfs: []string{"-t", "ext2", "-b", "4096"}, Kernel: true},
		{Name: "ext2-rev0", Covers: "revision 0: no feature words, fixed inode size",
			Size: 16 * mib, Mkfs: []string{"-t", "ext2", "-b", "1024", "-r", "0"}, Kernel: true, fill: Fill{BlockSize: 1024, Plain: true}},
		{Name: "ext2-plain", Covers: "ext2 without filetype, dir_index, sparse_super and resize_inode",
			Size: 24 * mib, Mkfs: []string{"-t", "ext2", "-b", "2048", "-O", "^filetype,^dir_index,^sparse_super,^resize_inode"}, Kernel: true, fill: Fill{BlockSize: 2048}},
		{Name: "ext3-4k", Covers: "ext3: block map with a journal",
			Size: 32 * mib, Mkfs: []string{"-t", "ext3", "-b", "4096"}, Kernel: true},
		{Name: "ext3-256", Covers: "ext3 with 256-byte inodes: nanoseconds and in-inode attributes beside block maps",
			Size: 32 * mib, Mkfs: []string{"-t", "ext3", "-b", "2048", "-I", "256"}, Kernel: true, fill: Fill{BlockSize: 2048}},
		{Name: "ext4-1k", Covers: "ext4 with 1 KiB blocks: first data block 1, several groups",
			Size: 32 * mib, Mkfs: []string{"-b", "1024"}, Kernel: true, fill: Fill{BlockSize: 1024}},
		{Name: "ext4-2k", Covers: "ext4 with 2 KiB blocks",
			Size: 32 * mib, Mkfs: []string{"-b", "2048"}, Kernel: true, fill: Fill{BlockSize: 2048}},
		{Name: "ext4-4k", Covers: "ext4 as mke2fs makes it: 64bit, metadata_csum, flex_bg",
			Size: 48 * mib, Mkfs: []string{"-b", "4096"}, Kernel: true, fill: Fill{Names: 1000}},
		{Name: "ext4-no64bit", Covers: "32-byte group descriptors with metadata_csum",
			Size: 32 * mib, Mkfs: []string{"-b", "4096", "-O", "^64bit"}, Kernel: true},
		{Name: "ext4-desc128", Covers: "group descriptors of 128 bytes, longer than any known field",
			Size: 32 * mib, Mkfs: []string{"-b", "1024", "-E", "desc_size=128"}, Kernel: true, fill: Fill{BlockSize: 1024}},
		{Name: "meta-bg", Covers: "descriptors spread over meta groups",
			Size: 160 * mib, Mkfs: []string{"-b", "1024", "-O", "meta_bg,^resize_inode", "-N", "4000"}, Kernel: true, fill: Fill{BlockSize: 1024}},
		{Name: "no-flex-bg", Covers: "bitmaps and inode tables in each group",
			Size: 48 * mib, Mkfs: []string{"-b", "1024", "-O", "^flex_bg"}, Kernel: true, fill: Fill{BlockSize: 1024}},
		{Name: "packed-meta", Covers: "all bitmaps and tables at the front (packed_meta_blocks)",
			Size: 48 * mib, Mkfs: []string{"-b", "1024", "-E", "packed_meta_blocks=1"}, Kernel: true, fill: Fill{BlockSize: 1024}},
		{Name: "sparse-super2", Covers: "two backup groups only",
			Size: 48 * mib, Mkfs: []string{"-b", "1024", "-O", "sparse_super2,^sparse_super,^resize_inode"}, Kernel: true, fill: Fill{BlockSize: 1024}},
		{Name: "no-resize-inode", Covers: "no reserved descriptor blocks",
			Size: 32 * mib, Mkfs: []string{"-b", "4096", "-O", "^resize_inode"}, Kernel: true},
		{Name: "bigalloc-4k", Covers: "clusters of 64 KiB over 4 KiB blocks",
			Size: 96 * mib, Mkfs: []string{"-b", "4096", "-O", "bigalloc", "-C", "65536", "-N", "4096"}, Kernel: true},
		{Name: "bigalloc-1k", Covers: "clusters of 16 KiB over 1 KiB blocks, first data block 0",
			Size: 64 * mib, Mkfs: []string{"-b", "1024", "-O", "bigalloc", "-C", "16384", "-N", "4096"}, Kernel: true, fill: Fill{BlockSize: 1024}},
		{Name: "ext4-64k", Covers: "64 KiB blocks: long directory records, an index with them", Size: 96 * mib,
			Mkfs: []string{"-b", "65536", "-N", "8000"}, make: indexedFolder, fill: Fill{BlockSize: 65536, Names: 6000}},
		{Name: "ext2-64k", Covers: "64 KiB blocks with block maps", Size: 64 * mib,
			Mkfs: []string{"-t", "ext2", "-b", "65536"}, make: fromFolder, fill: Fill{BlockSize: 65536}},
		{Name: "ext4-16k", Covers: "16 KiB blocks without checksums", Size: 64 * mib,
			Mkfs: []string{"-b", "16384", "-O", "^metadata_csum"}, make: fromFolder, fill: Fill{BlockSize: 16384}},
	}
}

// featureCases vary checksums, the journal and whole-image features.
func featureCases() []Case {
	return []Case{
		{Name: "no-csum", Covers: "neither metadata_csum nor gdt_csum",
			Size: 32 * mib, Mkfs: []string{"-b", "4096", "-O", "^metadata_csum"}, Kernel: true},
		{Name: "gdt-csum", Covers: "gdt_csum (uninit_bg): CRC-16 of descriptors, uninitialised groups",
			Size: 48 * mib, Mkfs: []string{"-b", "1024", "-O", "^metadata_csum,uninit_bg"}, Kernel: true, fill: Fill{BlockSize: 1024}},
		{Name: "csum-seed", Covers: "checksum seed apart from the UUID, which was changed since",
			Size: 32 * mib, Mkfs: []string{"-b", "4096", "-O", "metadata_csum_seed"}, Kernel: true, make: changedUUID},
		{Name: "no-journal", Covers: "ext4 without a journal",
			Size: 24 * mib, Mkfs: []string{"-b", "4096", "-O", "^has_journal"}, Kernel: true},
		{Name: "external-journal", Covers: "the journal in a second image",
			Size: 24 * mib, Mkfs: []string{"-b", "4096"}, Kernel: true, ExternalJournal: true, make: externalJournal},
		{Name: "orphan-file", Covers: "orphan_file",
			Size: 32 * mib, Mkfs: []string{"-b", "4096", "-O", "orphan_file"}, Kernel: true},
		{Name: "fast-commit", Covers: "fast_commit, cleanly unmounted",
			Size: 32 * mib, Mkfs: []string{"-b", "4096", "-O", "fast_commit"}, Kernel: true},
		{Name: "mmp", Covers: "multiple mount protection, not in use",
			Size: 24 * mib, Mkfs: []string{"-b", "1024"}, make: viaNoMMP, Kernel: true, fill: Fill{BlockSize: 1024}},
		{Name: "no-huge-file", Covers: "no huge_file, dir_nlink and extra_isize",
			Size: 32 * mib, Mkfs: []string{"-b", "4096", "-O", "^huge_file,^dir_nlink,^extra_isize"}, Kernel: true},
		{Name: "stable-inodes", Covers: "stable_inodes",
			Size: 32 * mib, Mkfs: []string{"-b", "4096", "-O", "stable_inodes,encrypt"}, Kernel: true},
		{Name: "shared-blocks", Covers: "one block in several files (shared_blocks)",
			Size: 16 * mib, Mkfs: []string{"-b", "4096"}, Kernel: true, make: sharedBlocks},
		{Name: "quota-project", Covers: "quota inodes of all kinds, project ids",
			Size: 32 * mib, Mkfs: []string{"-b", "4096", "-O", "quota,project", "-E", "quotatype=usrquota:grpquota:prjquota"}, Kernel: true, make: quotaProject},
		{Name: "huge-file", Covers: "i_blocks counted in file system blocks (huge_file flag of the inode)",
			Size: 32 * mib, Mkfs: []string{"-b", "4096"}, Kernel: true, make: hugeFile},
	}
}

// inodeCases vary the inode and what lies in it.
func inodeCases() []Case {
	return []Case{
		{Name: "inode-128", Covers: "ext4 with 128-byte inodes: no nanoseconds, no in-inode attributes",
			Size: 32 * mib, Mkfs: []string{"-b", "4096", "-I", "128"}, Kernel: true},
		{Name: "inode-512", Covers: "512-byte inodes",
			Size: 32 * mib, Mkfs: []string{"-b", "4096", "-I", "512"}, Kernel: true},
		{Name: "inode-1024-1k", Covers: "inodes as large as the block of 1 KiB",
			Size: 48 * mib, Mkfs: []string{"-b", "1024", "-I", "1024", "-N", "2000"}, Kernel: true, fill: Fill{BlockSize: 1024}},
		{Name: "inode-4096", Covers: "inodes as large as the block of 4 KiB",
			Size: 48 * mib, Mkfs: []string{"-b", "4096", "-I", "4096", "-N", "2000"}, Kernel: true},
		{Name: "inline-data", Covers: "inline files, folders and symlinks in 256-byte inodes",
			Size: 32 * mib, Mkfs: []string{"-b", "4096", "-O", "inline_data"}, Kernel: true, make: inlineTree},
		{Name: "inline-data-1k", Covers: "inline data in 1 KiB inodes, 1 KiB blocks",
			Size: 48 * mib, Mkfs: []string{"-b", "1024", "-I", "1024", "-N", "3000", "-O", "inline_data"}, Kernel: true, make: inlineTree, fill: Fill{BlockSize: 1024}},
		{Name: "ea-inode", Covers: "attribute values in inodes of their own, shared among files",
			Size: 32 * mib, Mkfs: []string{"-b", "4096", "-O", "ea_inode"}, Kernel: true, fill: Fill{BigXattr: 65536}},
		{Name: "ea-inode-1k", Covers: "ea_inode with 1 KiB blocks, no checksums",
			Size: 32 * mib, Mkfs: []string{"-b", "1024", "-O", "ea_inode,^metadata_csum"}, Kernel: true, fill: Fill{BlockSize: 1024, BigXattr: 50000}},
		{Name: "encrypt", Covers: "encrypted folders, names and symlinks, read without the key",
			Size: 24 * mib, Mkfs: []string{"-b", "4096", "-O", "encrypt"}, Kernel: true, make: encrypted},
		{Name: "encrypt-1k", Covers: "encryption with 1 KiB blocks, an indexed encrypted folder, other paddings",
			Size: 24 * mib, Mkfs: []string{"-b", "1024", "-O", "encrypt"}, Kernel: true, make: encrypted},
		{Name: "casefold", Covers: "folders that ignore case, linear and indexed",
			Size: 16 * mib, Mkfs: []string{"-b", "4096", "-O", "casefold", "-E", "encoding=utf8"}, make: casefolded},
		{Name: "casefold-strict", Covers: "casefold in strict mode, 1 KiB blocks",
			Size: 16 * mib, Mkfs: []string{"-b", "1024", "-O", "casefold", "-E", "encoding=utf8-12.1,encoding_flags=strict"}, make: casefolded},
		{Name: "casefold-encrypt", Covers: "folders that are encrypted and ignore case: hashes in the entries, index by SipHash",
			Size: 16 * mib, Mkfs: []string{"-b", "1024", "-O", "encrypt,^metadata_csum"}, make: foldEncrypted},
		{Name: "verity", Covers: "verity files: data, Merkle tree and descriptor",
			Size: 16 * mib, Mkfs: []string{"-b", "4096"}, make: verity},
	}
}

// indexCases vary the hash of directory indexes and their height.
func indexCases() []Case {
	var cases []Case
	for _, alg := range []string{"legacy", "half_md4", "tea"} {
		for _, sign := range []string{"signed", "unsigned"} {
			cases = append(cases, Case{Name: "hash-" + alg + "-" + sign, Covers: "directories indexed by " + alg + ", " + sign + " characters",
				Size: 16 * mib, Mkfs: []string{"-b", "1024", "-N", "4000"}, Kernel: true, make: hashed(alg, sign)})
		}
	}
	return append(cases,
		Case{Name: "index-nocsum", Covers: "indexed directories without checksums",
			Size: 16 * mib, Mkfs: []string{"-b", "1024", "-N", "4000", "-O", "^metadata_csum"}, Kernel: true, make: hashed("half_md4", "unsigned")},
		Case{Name: "large-dir", Covers: "a directory index of three levels (large_dir)",
			Size: 96 * mib, Mkfs: []string{"-b", "1024", "-O", "large_dir,^has_journal", "-N", "256"}, Kernel: true, Slow: true, make: largeDir},
		Case{Name: "dir-nlink", Covers: "a folder of more subfolders than its link count holds",
			Size: 128 * mib, Mkfs: []string{"-b", "1024", "-I", "128", "-O", "^has_journal", "-N", "66000"}, Kernel: true, Slow: true, make: manyFolders},
	)
}

// specialCases are images with a history.
func specialCases() []Case {
	return []Case{
		{Name: "aged", Covers: "files made, grown and removed many times: fragments everywhere",
			Size: 32 * mib, Mkfs: []string{"-b", "1024"}, Kernel: true, make: aged},
		{Name: "fragmented", Covers: "a file of thousands of extents: a tree of several levels",
			Size: 64 * mib, Mkfs: []string{"-b", "1024"}, Kernel: true, make: fragmentedFile},
		{Name: "deep-extents", Covers: "an extent tree of depth 5",
			Size: 16 * mib, Mkfs: []string{"-b", "1024"}, Kernel: true, make: deepExtents},
		{Name: "100k-names", Covers: "100,000 names in one directory",
			Size: 48 * mib, Mkfs: []string{"-b", "4096", "-I", "128", "-O", "^has_journal", "-N", "64"}, Kernel: true, Slow: true, make: manyNames(100_000)},
		{Name: "full", Covers: "no inode free, and no block but the kernel's own reserve",
			Size: 16 * mib, Mkfs: []string{"-b", "1024", "-N", "2000", "-m", "0"}, Kernel: true, make: full},
		{Name: "dirty", Covers: "a journal that needs recovery",
			Size: 16 * mib, Mkfs: []string{"-b", "1024"}, Kernel: true, make: dirty},
		{Name: "dirty-external", Covers: "an external journal that needs recovery",
			Size: 16 * mib, Mkfs: []string{"-b", "4096"}, Kernel: true, ExternalJournal: true, make: dirtyExternal},
		{Name: "dirty-fast-commit", Covers: "fast commits that need replay",
			Size: 16 * mib, Mkfs: []string{"-b", "4096", "-O", "fast_commit"}, Kernel: true, make: dirtyFastCommit},
	}
}
