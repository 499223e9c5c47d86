// Writes return_to_whatwg.jsonl: what the URL standard (WHATWG), which browsers
// follow, makes of values of return_to. The tests read the table and need no Node;
// run this by hand when cases are added, and read the difference:
//
//	node services/api/testdata/return_to_whatwg.mjs
//
// A line is [input, origin, path, query and fragment], or [input] where the standard
// says failure. Relative input is resolved as the tests' settings resolve it.
import { readFileSync, writeFileSync } from 'node:fs'

const base = 'https://app.example.com/'
const beside = name => new URL(name, import.meta.url)

// written are the tricks that were written by hand, as Go strings. Those that are
// no text (bytes from \x80 on) cannot be said in JSON and are left out.
function written() {
  return readFileSync(beside('return_to_tricks.txt'), 'utf8').split('\n')
    .filter(line => line.startsWith('"') && !/\\x[89a-f]/i.test(line))
    .map(line => JSON.parse(line.replace(/\\x/g, '\\u00').replace(/\\U([0-9a-f]{8})/gi, (_, n) => String.fromCodePoint(parseInt(n, 16)))))
}

// combined are all ways to begin a URL with all hosts and all paths.
function combined() {
  const beginnings = [
    '', '/', '//', '///', '\\', '/\\', '\\/', '\\\\', '/\t/', '//\t', ' //', 'https:', 'https:/', 'https://', 'https:///', 'https:\\\\',
    'https:/\\', 'HTTPS://', 'http://', 'ht\ntps://', ' https://', '\u0000https://', 'https:/\t/', 'ftp://', 'ws://', 'myapp:', 'myapp://', 'javascript://',
  ]
  const hosts = [
    'evil.example', 'app.example.com', 'APP.EXAMPLE.COM', 'a.apps.example.com', 'id.example.com', 'localhost:3000', 'callback',
    'app.example.com:443', 'app.example.com:0443', 'app.example.com:444', 'app.example.com@evil.example', 'evil.example@app.example.com',
    'app.example.com.evil.example', 'app.example.com\\@evil.example', 'evil.example\\.apps.example.com', 'evil.example#.apps.example.com',
    'evil.example?.apps.example.com', 'evil.example\uff0f.apps.example.com', 'app%2eexample.com', 'evil.example%2f.apps.example.com', '.apps.example.com',
    'b\u00fccher.apps.example.com', 'xn--bcher-kva.apps.example.com', '0x7f.1', '[::1]',
  ]
  const paths = ['', '/app?x=//evil.example#@evil.example', '/app/%2e%2E/x', '/app\\..\\x']
  return beginnings.flatMap(b => hosts.flatMap(h => paths.map(p => b + h + p)))
}

// good are some that apps really use.
const good = [
  'https://app.example.com/app', 'https://app.example.com/app/x?y=1&z=%20#top', 'https://app.example.com/app/%2F', 'https://app.example.com/app//x',
  'https://app.example.com/app/\u00fcmlaut', 'https://app.example.com/app?q=\u00fc', 'https://a.b.apps.example.com/x', 'http://localhost:3000',
  'http://localhost:3000/x#/route', 'myapp://callback/x?y', '/app', '/app/x?y', 'https://id.example.com/self-service/settings/browser',
]

function judged(input) {
  if (!URL.canParse(input, base)) return [input]
  const u = new URL(input, base)
  const user = u.username || u.password ? `${u.username}:${u.password}@` : ''
  return [input, `${u.protocol}//${user}${u.host}`, u.pathname, u.search + u.hash]
}

const visible = text => text.replace(/[^ -~]/g, c => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0'))
const rows = [...new Set([...good, ...written(), ...combined()])].map(input => visible(JSON.stringify(judged(input))))
writeFileSync(beside('return_to_whatwg.jsonl'), rows.join('\n') + '\n')
