// Package testimages makes ext4 images for tests and asks outside judges
// about them: the Linux kernel through a loop mount, e2fsck, debugfs and
// mke2fs. Only tests and make targets import it.
//
// # Oracles
//
// [RequireTool], [RequireRoot], [RequireLoop] and [RequireFUSE] skip a test
// with a reason where the judge is absent. With E4KIT_REQUIRE_ORACLES=1 an
// absent judge fails the test instead, so that CI cannot pass by skipping.
//
// # Images
//
// [Matrix] lists one small image per feature set; [Build] makes one and
// returns its path, [Truth] the manifest that its tree must have. Built images
// are shared by all tests of a process: never write to one, take a [Copy].
// [CrashImage] makes images with a journal that needs recovery, as a power cut
// under load would leave them.
//
// The test processes of one run share built images when E4KIT_IMAGE_CACHE names
// a folder; "make test" does that. [Workloads] are the large images that
// benchmarks use, kept on the disk from run to run.
//
// # Manifests
//
// [Manifest] describes a tree as sorted text lines; see its documentation for
// the format. [ManifestDir] takes one through system calls.
//
// # Crashes and faults
//
// A [Recorder] logs what a program under test writes to a device, with marks of
// what the test may rely on. [CrashStates] makes every state of the disk from
// it that a power cut may leave; a [Dumper] puts states into a file for
// programs, and [JudgeCrash] has e2fsck recover one and find fault with the
// rest. A [FaultWriter] fails operations that the test chooses.
//
// # Safety
//
// The kernel is never asked to mount an image that e2fsck does not call clean,
// but for images whose journal this package itself left unrecovered. Loop
// devices, mounts and scratch files go away with the test, and also when the
// process is killed: a small keeper process removes what is left.
//
// Each helper with a testing.TB has a form that returns an error, for
// programs: [MakeFS], [Mounted], [Check], [RunDebugfs].
package testimages
