// SPDX-License-Identifier: Apache-2.0

package place

// A Spec is a COPY or an ADD, expanded.
type Spec struct {
	// Sources are patterns of paths in From; of an ADD also URLs and repositories of
	// git.
	Sources []string
	// Dest is absolute in the image, with slashes; one at its end is kept. On Windows
	// it has no drive.
	Dest string
	// From is where Sources are; nil if none is a path.
	From Source
	// Inline are files that stand in the Dockerfile (heredocs); they come after
	// Sources.
	Inline []File

	Chown   string   // as USER[:GROUP], by name or number; "": root, or of a Stack as it is there
	Chmod   string   // octal or symbolic; "": as the source
	Link    bool     // Dest is not looked up in what lies below
	Parents bool     // sources keep their path below Dest
	Exclude []string // patterns of what is left out of Sources, as in .dockerignore

	Add       bool   // URLs are fetched, tars are unpacked
	Unpack    bool   // tars from URLs are unpacked too, those from From only if this is set; counts if UnpackSet
	UnpackSet bool   // --unpack was given
	KeepGit   bool   // of a repository .git is kept
	Checksum  string // of what an ADD fetches: a digest, or a commit
	Windows   bool   // the image is for Windows

	At string // FILE:LINE, for errors
}

// A File is one that is written out where it is used.
type File struct {
	Name string // without a directory
	Data []byte
}

// Options are what all of a Set has in common. The zero value is the rule.
type Options struct {
	// KeepTimes keeps the times of files, to the second. Without it files of a
	// context, heredocs and what is fetched are of 1970, so that the same content
	// gives the same layer whenever it was checked out. Files of a Stack keep theirs.
	KeepTimes bool

	localGit bool // repositories of git may be file://, for tests
}
