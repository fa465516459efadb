// Sends a file by POST with one of Node's HTTP clients, and prints the status: upload.js CLIENT URL FILE.
import { readFileSync } from 'node:fs';

const withFetch = async (url, body) => {
  const answer = await fetch(url, { method: 'POST', body });
  await answer.text();
  return answer.status;
};

const withAxios = async (url, body) => {
  const { default: axios } = await import('axios');
  const answer = await axios.post(url, body, { validateStatus: () => true, maxBodyLength: Infinity });
  return answer.status;
};

const [client, url, file] = process.argv.slice(2);
console.log(await { fetch: withFetch, axios: withAxios }[client](url, readFileSync(file)));
