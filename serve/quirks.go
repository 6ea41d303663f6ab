// SPDX-License-Identifier: Apache-2.0

package serve

import "time"

// Quirks make a registry behave like some that exist, so that clients can be
// tested against them without a network.
type Quirks struct {
	NoMount          bool    // every mount request starts an upload
	NoAnonymousMount bool    // the same, if it does not name a repository
	RejectCrossMount bool    // mount requests are refused with 403
	NoMonolithicPost bool    // a POST with a digest starts an upload
	NoReferrersAPI   bool    // 404, and no OCI-Subject
	NoTagParam       bool    // tag parameters of a push are overlooked
	NoTagDelete      bool    // tags cannot be deleted alone
	NoRange          bool    // Range is overlooked
	NoDigestHeader   bool    // no Docker-Content-Digest
	HeadUnsupported  bool    // HEAD is answered with 405
	ChunkMinLength   int64   // smaller chunks before the last are refused with 416
	MaxBody          int64   // larger bodies of uploads are refused with 413
	PageSize         int     // at most that many entries in one answer
	Bearer           *Bearer // access needs a token from /token
}

// Bearer is a token server at /token beside the registry (the protocol of
// distribution's token authentication, GET with Basic and POST as in OAuth2).
type Bearer struct {
	User, Password string        // who gets tokens; without a user anybody does
	AnonymousPull  bool          // tokens to pull need no user
	Realm          string        // URL in the challenge: /token of the same host
	Service        string        // in the challenge: "registry"
	Life           time.Duration // of a token: 5 min
}
