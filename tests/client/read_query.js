// What readers of queries on Node take for one parameter; as read_query.py.

import { readFileSync } from 'node:fs';
import querystring from 'node:querystring';

const { queries, name } = JSON.parse(readFileSync(0, 'utf8'));
const all = (value) => (value === undefined ? [] : [value].flat());

const found = queries.map((query) => ({
  querystring: all(querystring.parse(query)[name]),
  'querystring by semicolons': all(querystring.parse(query, ';')[name]),
  URLSearchParams: new URLSearchParams(query).getAll(name),
  URL: new URL(`http://service/?${query}`).searchParams.getAll(name),
}));
process.stdout.write(JSON.stringify(found));
