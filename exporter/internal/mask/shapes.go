package mask

import "slices"

// class is a set of bytes.
type class [256]bool

func classOf(more string) *class {
	c := isAlphanumeric
	for i := range len(more) {
		c[more[i]] = true
	}
	return &c
}

var (
	isAlphanumeric = func() (c class) {
		for _, span := range []string{"09", "AZ", "az"} {
			for b := int(span[0]); b <= int(span[1]); b++ {
				c[b] = true
			}
		}
		return c
	}()
	isBase64   = *classOf("+/-_")
	isUpper    = func() (c class) { c = isAlphanumeric; clear(c['a' : 'z'+1]); return c }()
	words      = classOf("_")
	base64URL  = classOf("_-")
	percentB64 = classOf("+/=%")
)

// run is a token with a beginning of its own and then many characters of one class.
type run struct {
	prefix string
	class  *class
	least  int
	// exactly: with more of them it is something else.
	exactly bool
	// names: the prefix is not hidden. assigns: after it come blanks, quotes, and = or :.
	names, assigns bool
}

// tokens are as their makers describe them. "gitleaks" is its default rules
// (https://github.com/gitleaks/gitleaks/blob/master/config/gitleaks.toml).
var tokens = slices.Concat(
	// https://github.blog/engineering/platform-security/behind-githubs-new-authentication-token-formats/
	runs(run{class: words, least: 36}, "ghp_", "gho_", "ghu_", "ghr_"),
	// An installation's token can have a JSON Web Token in it.
	runs(run{class: classOf("_-."), least: 36}, "ghs_"),
	runs(run{class: words, least: 50}, "github_pat_"),
	// https://docs.gitlab.com/security/tokens/#token-prefixes; routable ones have a dot.
	runs(run{class: classOf("_-."), least: 20}, "glpat-", "gldt-", "glrt-", "glptt-", "glcbt-", "glagent-", "glsoat-"),
	// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids
	runs(run{class: &isUpper, least: 16, exactly: true}, "AKIA", "ASIA"),
	// https://docs.aws.amazon.com/sdkref/latest/guide/feature-static-credentials.html
	runs(run{class: classOf("+/="), least: 40, names: true, assigns: true},
		"aws_secret_access_key", "AWS_SECRET_ACCESS_KEY", "SecretAccessKey", "secretAccessKey",
		"aws_session_token", "AWS_SESSION_TOKEN", "SessionToken", "sessionToken"),
	// https://learn.microsoft.com/rest/api/storageservices/create-service-sas#specify-the-signature: an HMAC-SHA256 in base64.
	runs(run{class: percentB64, least: 43, names: true}, "sig=", "sig%3D", "sig%3d"),
	// https://learn.microsoft.com/azure/storage/common/storage-configure-connection-string
	runs(run{class: percentB64, least: 43, names: true},
		"AccountKey=", "AccountKey%3D", "AccountKey%3d", "SharedAccessKey=", "SharedAccessKey%3D", "SharedAccessKey%3d"),
	// https://docs.slack.dev/authentication/tokens; gitleaks for the shape.
	runs(run{class: base64URL, least: 10}, "xoxa-", "xoxb-", "xoxe-", "xoxe.", "xoxo-", "xoxp-", "xoxr-", "xoxs-", "xapp-"),
	runs(run{class: classOf("/"), least: 30, names: true}, "hooks.slack.com/services/"),
	// https://github.blog/changelog/2021-09-23-npm-has-a-new-access-token-format/
	runs(run{class: &isAlphanumeric, least: 36}, "npm_"),
	// https://docs.pypi.org/api/secrets/
	runs(run{class: base64URL, least: 50}, "pypi-AgEIcHlwaS5vcmc", "pypi-AgENdGVzdC5weXBpLm9yZw"),
	// https://docs.cloud.google.com/docs/authentication/api-keys; gitleaks for the shape.
	runs(run{class: base64URL, least: 35, exactly: true}, "AIza"),
	runs(run{class: base64URL, least: 28}, "GOCSPX-"),
	runs(run{class: classOf("_-."), least: 20}, "ya29."),
	// https://docs.stripe.com/keys
	runs(run{class: &isAlphanumeric, least: 20}, "sk_live_", "rk_live_"),
	// gitleaks
	runs(run{class: base64URL, least: 27}, "dckr_pat_"),
)

func runs(shape run, prefixes ...string) []run {
	all := make([]run, len(prefixes))
	for i, prefix := range prefixes {
		all[i] = shape
		all[i].prefix = prefix
	}
	return all
}

// shapes are all candidates that need no values.
func shapes() []candidate {
	all := []candidate{webToken{}, privateKey{}}
	for i := range tokens {
		all = append(all, &tokens[i])
		all = append(all, encodedForms(&tokens[i], tokens[i].prefix)...)
	}
	all = append(all, encodedForms(webToken{}, "eyJ")...)
	return append(all, encodedForms(privateKey{}, "-----BEGIN ")...)
}

func (r *run) first() []byte { return []byte(r.prefix) }

func (r *run) look(text []byte, before lead, final bool) (match, verdict) {
	if words[before[1]] {
		return match{}, no
	}
	if said := begins(text, r.prefix, final); said != yes {
		return match{}, said
	}
	end := len(r.prefix)
	if r.assigns {
		from := end
		for end < len(text) && end-from < 8 && slices.Contains([]byte(" \t\"'=:>"), text[end]) {
			end++
		}
		if end == from && end < len(text) || !slices.ContainsFunc(text[from:end], func(b byte) bool { return b == '=' || b == ':' }) &&
			end < len(text) {
			return match{}, no
		}
	}
	start := end
	for end < len(text) && r.class[text[end]] {
		end++
	}
	if end == len(text) && !final && end < maxHold {
		return match{}, more
	}
	if end-start < r.least || r.exactly && end-start > r.least {
		return match{}, no
	}
	found := match{end: end, rest: r.class}
	if r.names {
		found.start = start
	}
	return found, yes
}

// begins says whether text begins with a prefix.
func begins(text []byte, prefix string, final bool) verdict {
	n := min(len(text), len(prefix))
	switch {
	case string(text[:n]) != prefix[:n]:
		return no
	case n == len(prefix):
		return yes
	case final:
		return no
	}
	return more
}

// webToken is a JSON Web Token (https://www.rfc-editor.org/rfc/rfc7519): two JSON objects in base64url, and a signature.
type webToken struct{}

func (webToken) first() []byte { return []byte("eyJ") }

func (webToken) look(text []byte, before lead, final bool) (match, verdict) {
	if isBase64[before[1]] {
		return match{}, no
	}
	end := 0
	for part := range 3 {
		start := end
		for end < len(text) && base64URL[text[end]] {
			end++
		}
		beginning := text[start:end]
		if part < 2 && string(beginning[:min(3, len(beginning))]) != "eyJ"[:min(3, len(beginning))] {
			return match{}, no
		}
		if end == len(text) && !final && end < maxHold {
			return match{}, more
		}
		if part == 2 || part == 1 && end == len(text) {
			break
		}
		if end-start < 10 || end == len(text) || text[end] != '.' {
			return match{}, no
		}
		end++
	}
	return match{end: end, rest: classOf("_-.")}, yes
}
