package disk

// Feature words of the journal superblock (v2 only). They are the journal's
// own and set by the kernel at the first mount that needs them.
type (
	JournalCompat   uint32
	JournalIncompat uint32
	JournalROCompat uint32
)

// Journal features.
const (
	// JournalCompatChecksum: commit blocks carry a CRC-32 of the transaction.
	JournalCompatChecksum JournalCompat = 1

	// JournalIncompatRevoke: the log holds revoke blocks. The kernel may log
	// such blocks before this bit is on disk.
	JournalIncompatRevoke      JournalIncompat = 0x01
	JournalIncompat64bit       JournalIncompat = 0x02
	JournalIncompatAsyncCommit JournalIncompat = 0x04
	JournalIncompatCsumV2      JournalIncompat = 0x08
	JournalIncompatCsumV3      JournalIncompat = 0x10
	JournalIncompatFastCommit  JournalIncompat = 0x20
	JournalIncompatKnown       JournalIncompat = 0x3f

	// JournalROCompatKnown: there are none.
	JournalROCompatKnown JournalROCompat = 0
)

// Names as dumpe2fs spells them; its release 1.47.0 has none for fast_commit.
var (
	journalCompatNames   = [32]string{"journal_checksum"}
	journalIncompatNames = [32]string{
		"journal_incompat_revoke", "journal_64bit", "journal_async_commit",
		"journal_checksum_v2", "journal_checksum_v3", "fast_commit",
	}
	journalROCompatNames [32]string
)

// Has reports whether all of bits are set.
func (c JournalCompat) Has(bits JournalCompat) bool { return c&bits == bits }

// Has reports whether all of bits are set.
func (i JournalIncompat) Has(bits JournalIncompat) bool { return i&bits == bits }

// Names lists the set features; an unknown bit N is FEATURE_CN.
func (c JournalCompat) Names() []string { return featureNames(uint32(c), &journalCompatNames, 'C') }

// Names lists the set features; an unknown bit N is FEATURE_IN.
func (i JournalIncompat) Names() []string {
	return featureNames(uint32(i), &journalIncompatNames, 'I')
}

// Names lists the set features; an unknown bit N is FEATURE_RN.
func (r JournalROCompat) Names() []string {
	return featureNames(uint32(r), &journalROCompatNames, 'R')
}
