package dump

import (
	"fmt"
	"io"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Super is a superblock: all its fields, and what follows from them.
type Super struct {
	Type   string `json:"type"`
	Offset int64  `json:"offset" text:"Superblock at byte"`

	Magic         uint32 `json:"magic" text:"Magic,hex"`
	UUID          string `json:"uuid" text:"UUID"`
	Label         string `json:"label" text:"Label"`
	LastMounted   string `json:"last_mounted" text:"Last mounted on"`
	Revision      uint32 `json:"revision" text:"Revision"`
	MinorRevision uint32 `json:"minor_revision" text:"Minor revision"`
	CreatorOS     Code   `json:"creator_os" text:"Creator"`
	GroupNr       uint32 `json:"group_nr" text:"Copy of group"`

	Compat   Flags `json:"feature_compat" text:"Compatible features"`
	Incompat Flags `json:"feature_incompat" text:"Incompatible features"`
	ROCompat Flags `json:"feature_ro_compat" text:"Read-only features"`
	Flags    Flags `json:"flags" text:"Flags"`
	State    Flags `json:"state" text:"State"`
	Errors   Code  `json:"errors_behaviour" text:"On errors"`

	SuperSpace
	SuperTimes
	SuperPolicy
	SuperJournal
	SuperErrors

	ReservedNonZero []Range `json:"reserved_nonzero,omitempty" text:"Reserved bytes in use,omitempty"`
	ChecksumType    Code    `json:"checksum_type" text:"Checksum type"`
	ChecksumSeed    *uint32 `json:"checksum_seed,omitempty" text:"Checksum seed,hex"`
	StoredSeed      uint32  `json:"stored_checksum_seed" text:"Stored seed,hex"`

	Checksum Checksum `json:"checksum" text:"Checksum"`
	Problems []string `json:"problems,omitempty"`
}

// SuperSpace is how the space is laid out and what of it is free.
type SuperSpace struct {
	Blocks            uint64 `json:"blocks_count" text:"Blocks"`
	ReservedBlocks    uint64 `json:"reserved_blocks" text:"Reserved blocks"`
	FreeBlocks        uint64 `json:"free_blocks" text:"Free blocks"`
	OverheadClusters  uint32 `json:"overhead_clusters" text:"Overhead clusters"`
	Inodes            uint32 `json:"inodes_count" text:"Inodes"`
	FreeInodes        uint32 `json:"free_inodes" text:"Free inodes"`
	FirstDataBlock    uint32 `json:"first_data_block" text:"First data block"`
	LogBlockSize      uint32 `json:"log_block_size" text:"Log of block size"`
	BlockSize         int    `json:"block_size,omitempty" text:"Block size,omitempty"`
	LogClusterSize    uint32 `json:"log_cluster_size" text:"Log of cluster size"`
	ClusterSize       int64  `json:"cluster_size,omitempty" text:"Cluster size,omitempty"`
	BlocksPerGroup    uint32 `json:"blocks_per_group" text:"Blocks per group"`
	ClustersPerGroup  uint32 `json:"clusters_per_group" text:"Clusters per group"`
	InodesPerGroup    uint32 `json:"inodes_per_group" text:"Inodes per group"`
	Groups            uint64 `json:"groups,omitempty" text:"Groups,omitempty"`
	InodeTableBlocks  uint32 `json:"inode_table_blocks,omitempty" text:"Blocks of an inode table,omitempty"`
	FirstInode        uint32 `json:"first_inode" text:"First ordinary inode"`
	InodeSize         uint32 `json:"inode_size" text:"Inode size"`
	MinExtraIsize     uint32 `json:"min_extra_isize" text:"Required extra isize"`
	WantExtraIsize    uint32 `json:"want_extra_isize" text:"Desired extra isize"`
	DescSize          uint32 `json:"desc_size" text:"Descriptor size field"`
	ReservedGDTBlocks uint32 `json:"reserved_gdt_blocks" text:"Reserved GDT blocks"`
	FirstMetaBG       uint32 `json:"first_meta_bg" text:"First meta block group"`
	LogGroupsPerFlex  uint32 `json:"log_groups_per_flex" text:"Log of flex group size"`
	FlexGroupSize     uint64 `json:"flex_group_size,omitempty" text:"Flex group size,omitempty"`
	BackupGroups      []int  `json:"backup_groups" text:"Backup groups field"`
	RAIDStride        uint32 `json:"raid_stride" text:"RAID stride"`
	RAIDStripeWidth   uint32 `json:"raid_stripe_width" text:"RAID stripe width"`
}

// SuperTimes is when what happened.
type SuperTimes struct {
	MkfsTime      Time   `json:"mkfs_time" text:"Created"`
	MountTime     Time   `json:"mount_time" text:"Last mount"`
	WriteTime     Time   `json:"write_time" text:"Last write"`
	LastCheck     Time   `json:"last_check" text:"Last check"`
	CheckInterval uint32 `json:"check_interval" text:"Check interval (s)"`
	MountCount    uint32 `json:"mount_count" text:"Mounts since check"`
	MaxMountCount int    `json:"max_mount_count" text:"Mounts until check"`
	KBytesWritten uint64 `json:"kbytes_written" text:"Lifetime writes (KiB)"`
}

// SuperPolicy is what a mount shall do, and the feature's own settings.
type SuperPolicy struct {
	MountOpts         Flags  `json:"default_mount_opts" text:"Default mount options"`
	MountOptString    string `json:"mount_opts" text:"Mount option string"`
	ReservedUID       uint32 `json:"reserved_uid" text:"Reserved blocks for user"`
	ReservedGID       uint32 `json:"reserved_gid" text:"Reserved blocks for group"`
	HashVersion       Code   `json:"hash_version" text:"Default directory hash"`
	HashSeed          string `json:"hash_seed" text:"Directory hash seed"`
	Encoding          Code   `json:"encoding" text:"Name encoding"`
	EncodingFlags     Flags  `json:"encoding_flags" text:"Name encoding flags"`
	EncryptionLevel   uint32 `json:"encryption_level" text:"Encryption level"`
	EncryptAlgos      []int  `json:"encrypt_algos" text:"Encryption algorithms"`
	EncryptPWSalt     string `json:"encrypt_pw_salt" text:"Encryption salt"`
	UserQuotaInode    uint32 `json:"user_quota_inode" text:"User quota inode"`
	GroupQuotaInode   uint32 `json:"group_quota_inode" text:"Group quota inode"`
	ProjectQuotaInode uint32 `json:"project_quota_inode" text:"Project quota inode"`
	LostFoundInode    uint32 `json:"lost_found_inode" text:"lost+found inode"`
	MMPBlock          uint64 `json:"mmp_block" text:"MMP block"`
	MMPInterval       uint32 `json:"mmp_update_interval" text:"MMP interval (s)"`
	AlgorithmBitmap   uint32 `json:"algorithm_usage_bitmap" text:"Compression algorithms,hex"`
	PreallocBlocks    uint32 `json:"prealloc_blocks" text:"Preallocated blocks"`
	PreallocDirBlocks uint32 `json:"prealloc_dir_blocks" text:"Preallocated dir blocks"`
	SnapshotInode     uint32 `json:"snapshot_inum" text:"Snapshot inode"`
	SnapshotID        uint32 `json:"snapshot_id" text:"Snapshot id"`
	SnapshotReserved  uint64 `json:"snapshot_r_blocks_count" text:"Snapshot reserved blocks"`
	SnapshotList      uint32 `json:"snapshot_list" text:"Snapshot list"`
}

// SuperJournal is about the journal and what recovery has to do.
type SuperJournal struct {
	JournalInode      uint32   `json:"journal_inum" text:"Journal inode"`
	JournalUUID       string   `json:"journal_uuid" text:"Journal UUID"`
	JournalDev        uint32   `json:"journal_dev" text:"Journal device,hex"`
	JournalBackupType Code     `json:"journal_backup_type" text:"Journal backup"`
	JournalBlocks     []uint32 `json:"journal_blocks" text:"Journal inode backup,hex"`
	LastOrphan        uint32   `json:"last_orphan" text:"First inode of orphan list"`
	OrphanFileInode   uint32   `json:"orphan_file_inum" text:"Orphan file inode"`
}

// SuperErrors is what the kernel noted of errors.
type SuperErrors struct {
	ErrorCount uint32     `json:"error_count" text:"Errors since check"`
	FirstError SuperError `json:"first_error" text:"First error"`
	LastError  SuperError `json:"last_error" text:"Last error"`
}

// SuperError is one error that the kernel noted.
type SuperError struct {
	Time     Time   `json:"time"`
	Inode    uint32 `json:"inode"`
	Block    uint64 `json:"block"`
	Function string `json:"function"`
	Line     uint32 `json:"line"`
	Code     Code   `json:"code"`
}

// String is "none" or the error in one line.
func (e SuperError) String() string {
	if e == (SuperError{Code: errorCode(0)}) {
		return "none"
	}
	return fmt.Sprintf("%s, function %s, line %d, inode %d, block %d, code %s",
		e.Time, escape(e.Function), e.Line, e.Inode, e.Block, e.Code)
}

// WriteText writes all fields, one a line.
func (s *Super) WriteText(w io.Writer) error {
	return render(w, func(p *printer) {
		p.fields(s)
		p.problems(s.Problems)
	})
}

// Super returns the superblock that the image is read with.
func (im *Image) Super() *Super { return newSuper(im.raw, im.at, im.dev.Size()) }

// newSuper takes apart the 1024 bytes of a superblock at offset at. The magic
// may be wrong.
func newSuper(raw []byte, at, size int64) *Super {
	var s disk.Superblock
	err := s.Decode(raw)
	v := &Super{Type: "superblock", Offset: at}
	if err != nil {
		v.Magic = uint32(raw[0x38]) | uint32(raw[0x39])<<8
		v.Problems = append(v.Problems, problem(err))
		return v
	}
	valid := s.Validate(size)
	if valid != nil {
		v.Problems = append(v.Problems, problem(valid))
	}
	v.identity(&s)
	v.SuperSpace = superSpace(&s, valid == nil)
	v.SuperTimes = superTimes(&s)
	v.SuperPolicy = superPolicy(&s)
	v.SuperJournal = superJournal(&s)
	v.SuperErrors = SuperErrors{s.ErrorCount, superError(&s.FirstError), superError(&s.LastError)}
	v.ReservedNonZero = reservedInUse(raw)
	v.ChecksumType = newCode(uint32(s.ChecksumType), "none", "crc32c")
	v.StoredSeed = s.ChecksumSeed
	if s.HasMetadataCsum() || s.Features.Incompat.Has(disk.IncompatEAInode) {
		seed := s.Seed()
		v.ChecksumSeed = &seed
	}
	stored, computed := disk.VerifySuperblock(raw)
	v.Checksum = newChecksum(s.HasMetadataCsum(), stored, computed)
	return v
}

func (v *Super) identity(s *disk.Superblock) {
	v.Magic = uint32(s.Magic)
	v.UUID = disk.UUIDString(s.UUID)
	v.Label, v.LastMounted = cText(s.VolumeName[:]), cText(s.LastMounted[:])
	v.Revision, v.MinorRevision = s.RevLevel, uint32(s.MinorRev)
	v.CreatorOS = newCode(s.CreatorOS, "Linux", "Hurd", "Masix", "FreeBSD", "Lites")
	v.GroupNr = uint32(s.GroupNr)
	v.Compat = namedFlags(uint32(s.Features.Compat), s.Features.Compat.Names())
	v.Incompat = namedFlags(uint32(s.Features.Incompat), s.Features.Incompat.Names())
	v.ROCompat = namedFlags(uint32(s.Features.ROCompat), s.Features.ROCompat.Names())
	v.Flags = newFlags(s.Flags, "signed_directory_hash", "unsigned_directory_hash", "test_filesystem",
		"", "snapshot", "fix_snapshot", "fix_exclude")
	v.State = newFlags(uint32(s.State), "clean", "error", "orphans", "", "", "fast_commit_replay")
	v.Errors = newCode(uint32(s.Errors), "", "continue", "remount-ro", "panic")
}

func superSpace(s *disk.Superblock, valid bool) SuperSpace {
	v := SuperSpace{
		Blocks: s.Blocks(), ReservedBlocks: s.Reserved(), FreeBlocks: s.Free(), OverheadClusters: s.OverheadClusters,
		Inodes: s.InodesCount, FreeInodes: s.FreeInodes, FirstDataBlock: s.FirstDataBlock,
		LogBlockSize: s.LogBlockSize, LogClusterSize: s.LogClusterSize,
		BlocksPerGroup: s.BlocksPerGroup, ClustersPerGroup: s.ClustersPerGroup, InodesPerGroup: s.InodesPerGroup,
		FirstInode: uint32(s.FirstInode), InodeSize: uint32(s.RawInodeSize),
		MinExtraIsize: uint32(s.MinExtraIsize), WantExtraIsize: uint32(s.WantExtraIsize),
		DescSize: uint32(s.RawDescSize), ReservedGDTBlocks: uint32(s.ReservedGDTBlocks), FirstMetaBG: s.FirstMetaBG,
		LogGroupsPerFlex: uint32(s.LogGroupsPerFlex),
		BackupGroups:     []int{int(s.BackupGroups[0]), int(s.BackupGroups[1])},
		RAIDStride:       uint32(s.RAIDStride), RAIDStripeWidth: s.RAIDStripeWidth,
	}
	if s.Features.Incompat.Has(disk.IncompatFlexBG) && s.LogGroupsPerFlex > 0 && s.LogGroupsPerFlex < 32 {
		v.FlexGroupSize = 1 << s.LogGroupsPerFlex
	}
	if s.LogBlockSize <= 6 {
		v.BlockSize = s.BlockSize()
	}
	if valid {
		v.ClusterSize = s.ClusterSize()
		v.Groups = uint64(s.Groups())
		v.InodeTableBlocks = s.InodeTableBlocks()
	}
	return v
}

func superTimes(s *disk.Superblock) SuperTimes {
	return SuperTimes{
		MkfsTime: newTime(s.MkfsTime), MountTime: newTime(s.MountTime), WriteTime: newTime(s.WriteTime),
		LastCheck: newTime(s.LastCheck), CheckInterval: s.CheckInterval,
		MountCount: uint32(s.MountCount), MaxMountCount: int(s.MaxMountCount), KBytesWritten: s.KBytesWritten,
	}
}

func superPolicy(s *disk.Superblock) SuperPolicy {
	v := SuperPolicy{
		MountOpts: newFlags(s.DefaultMountOpts, "debug", "bsdgroups", "user_xattr", "acl", "uid16",
			"journal_data", "journal_data_ordered", "", "nobarrier", "block_validity", "discard", "nodelalloc"),
		MountOptString: cText(s.MountOpts[:]),
		ReservedUID:    s.ReservedUID, ReservedGID: s.ReservedGID,
		HashVersion:   Code{uint32(s.DefHashVersion), disk.HashVersion(s.DefHashVersion).String()},
		HashSeed:      seedString(s.HashSeed),
		Encoding:      newCode(uint32(s.Encoding), "none", "utf8-12.1"),
		EncodingFlags: newFlags(uint32(s.EncodingFlags), "strict"),

		EncryptionLevel: uint32(s.EncryptionLevel), EncryptPWSalt: disk.UUIDString(s.EncryptPWSalt),
		UserQuotaInode: uint32(s.UserQuotaInode), GroupQuotaInode: uint32(s.GroupQuotaInode),
		ProjectQuotaInode: uint32(s.ProjectQuotaInode), LostFoundInode: uint32(s.LostFoundInode),
		MMPBlock: uint64(s.MMPBlock), MMPInterval: uint32(s.MMPInterval),
		AlgorithmBitmap: s.AlgorithmBitmap,
		PreallocBlocks:  uint32(s.PreallocBlocks), PreallocDirBlocks: uint32(s.PreallocDirBlocks),
		SnapshotInode: s.SnapshotInode, SnapshotID: s.SnapshotID,
		SnapshotReserved: s.SnapshotReserved, SnapshotList: s.SnapshotList,
	}
	const dataMode = 0x60
	if s.DefaultMountOpts&dataMode == dataMode {
		v.MountOpts = writebackFlags(s.DefaultMountOpts)
	}
	for _, a := range s.EncryptAlgos {
		v.EncryptAlgos = append(v.EncryptAlgos, int(a))
	}
	return v
}

// writebackFlags names the default mount options where both bits of the data
// mode are set: together they mean a third mode.
func writebackFlags(raw uint32) Flags {
	return newFlags(raw, "debug", "bsdgroups", "user_xattr", "acl", "uid16",
		"journal_data_writeback", "journal_data_writeback", "", "nobarrier", "block_validity", "discard", "nodelalloc").dedup()
}

func (f Flags) dedup() Flags {
	out := f.Names[:0]
	for i, n := range f.Names {
		if i == 0 || n != f.Names[i-1] {
			out = append(out, n)
		}
	}
	f.Names = out
	return f
}

// seedString writes the hash seed as the UUID that it is made from.
func seedString(seed [4]uint32) string {
	var b [16]byte
	for i, w := range seed {
		b[4*i], b[4*i+1], b[4*i+2], b[4*i+3] = byte(w), byte(w>>8), byte(w>>16), byte(w>>24)
	}
	return disk.UUIDString(b)
}

func superJournal(s *disk.Superblock) SuperJournal {
	return SuperJournal{
		JournalInode: uint32(s.JournalInode), JournalUUID: disk.UUIDString(s.JournalUUID), JournalDev: s.JournalDev,
		JournalBackupType: newCode(uint32(s.JournalBackupType), "none", "inode blocks"),
		JournalBlocks:     append([]uint32(nil), s.JournalBlocks[:]...),
		LastOrphan:        uint32(s.LastOrphan), OrphanFileInode: uint32(s.OrphanFileInode),
	}
}

func superError(e *disk.ErrorRecord) SuperError {
	return SuperError{
		Time: newTime(e.Time), Inode: uint32(e.Inode), Block: uint64(e.Block),
		Function: cText(e.Func[:]), Line: e.Line, Code: errorCode(e.Code),
	}
}

func errorCode(c uint8) Code {
	return newCode(uint32(c), "none", "unknown", "EIO", "ENOMEM", "EFSBADCRC", "EFSCORRUPTED", "ENOSPC", "ENOKEY",
		"EROFS", "EFBIG", "EEXIST", "ERANGE", "EOVERFLOW", "EBUSY", "ENOTDIR", "ENOTEMPTY", "ESHUTDOWN", "EFAULT")
}

// reservedInUse finds the bytes that no known field covers and that are not
// zero: a newer kernel keeps something there.
func reservedInUse(raw []byte) []Range {
	var list []Range
	for _, r := range []Range{{0x177, 0x177}, {0x288, 0x3fb}} {
		for i := r.First; i <= r.Last; i++ {
			if raw[i] == 0 {
				continue
			}
			if n := len(list); n > 0 && list[n-1].Last == i-1 {
				list[n-1].Last = i
			} else {
				list = append(list, Range{i, i})
			}
		}
	}
	return list
}
