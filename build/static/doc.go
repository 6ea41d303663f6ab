// SPDX-License-Identifier: Apache-2.0

// Package static makes a base without programs: certificates, time zones, a user.
package static
