// Every way in which a web page makes its browser send a request, tried at each address that the page was given, and at
// a control that lets everything through: what never comes there is no way of this browser.
//
// A way is a function of `u`, which makes the address to ask; its argument is what the address should look like.

const { targets, aliases, control } = JSON.parse(document.getElementById('plan').textContent);

/** Answers as it is told to: `status`, `body`, all else is a field. From this page's own server. */
const say = (fields) => `${location.origin}/say?${new URLSearchParams(fields)}`;

const add = (name, attributes = {}, children = []) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  document.body.append(element);
  return element;
};
const svg = (name, attributes) => {
  const within = (name, attributes, children = []) => {
    const element = document.createElementNS('http://www.w3.org/2000/svg', name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };
  const filter = name === 'feImage';
  const inner = within(name, attributes);
  const children = filter ? [within('filter', { id: attributes.href }, [inner]), within('rect', { width: 9, height: 9, filter: `url("#${attributes.href}")` })] : [inner];
  document.body.append(within('svg', { width: 9, height: 9 }, children));
};
const style = (text) => add('style', {}, [text]);
const styled = (text) => add('div', { style: `width: 9px; height: 9px; ${text}` }, ['x']);
const link = (rel, href, more = {}) => document.head.append(Object.assign(document.createElement('link'), { rel, href, ...more }));
const frame = (html, more = {}) => add('iframe', { srcdoc: html, ...more });
const blank = (name) => add('iframe', { name });
const blob = (text) => URL.createObjectURL(new Blob([text], { type: 'text/javascript' }));
const form = (method, action, more = {}) => {
  const target = `frame-${Math.random()}`;
  blank(target);
  const form = add('form', { method, action, target, ...more }, []);
  form.append(Object.assign(document.createElement('input'), { name: 'a', value: 'b' }));
  form.submit();
};
const click = (attributes) => {
  const target = `frame-${Math.random()}`;
  blank(target);
  add('a', { target, ...attributes }, ['x']).click();
};
const rules = (kind, url) => add('script', { type: 'speculationrules' }, [JSON.stringify({ [kind]: [{ source: 'list', urls: [url], eagerness: 'immediate' }] })]);
const xhr = (method, url, set = () => {}, wait = true, body = null) => {
  const request = new XMLHttpRequest();
  request.open(method, url, wait);
  set(request);
  request.send(body);
};
const worker = (text, more = {}) => new Worker(blob(text), more);

const ways = {
  // Ahead of time; first, as a browser does only a few of them.
  'speculation-prefetch': (u) => rules('prefetch', u('html')),
  'speculation-prerender': (u) => rules('prerender', u('html')),

  // Asked for by script.
  'fetch-cors': (u) => fetch(u('json')),
  'fetch-cors-credentials': (u) => fetch(u('json'), { credentials: 'include' }),
  'fetch-no-cors': (u) => fetch(u('json'), { mode: 'no-cors' }),
  'fetch-no-cors-credentials': (u) => fetch(u('json'), { mode: 'no-cors', credentials: 'include' }),
  'fetch-no-referrer': (u) => fetch(u('json'), { mode: 'no-cors', referrerPolicy: 'no-referrer' }),
  'fetch-head': (u) => fetch(u('json'), { mode: 'no-cors', method: 'HEAD' }),
  'fetch-keepalive': (u) => fetch(u('json'), { mode: 'no-cors', keepalive: true }),
  'fetch-post-text': (u) => fetch(u('json'), { mode: 'no-cors', method: 'POST', body: 'a=b' }),
  'fetch-post-form': (u) => fetch(u('json'), { mode: 'no-cors', method: 'POST', body: new URLSearchParams({ a: 'b' }) }),
  'fetch-post-multipart': (u) => fetch(u('json'), { mode: 'no-cors', method: 'POST', body: new FormData() }),
  'fetch-post-json': (u) => fetch(u('json'), { method: 'POST', body: '{}', headers: { 'Content-Type': 'application/json' } }),
  'fetch-put': (u) => fetch(u('json'), { method: 'PUT', body: 'x' }),
  'fetch-delete': (u) => fetch(u('json'), { method: 'DELETE' }),
  'fetch-own-field': (u) => fetch(u('json'), { headers: { 'X-Tenant': 'acme' } }),
  'fetch-user-agent': (u) => fetch(u('json'), { headers: { 'User-Agent': 'curl/8.5.0' } }),
  'fetch-range': (u) => fetch(u('json'), { headers: { Range: 'bytes=0-9' } }),
  'xhr-get': (u) => xhr('GET', u('json')),
  'xhr-credentials': (u) => xhr('GET', u('json'), (request) => (request.withCredentials = true)),
  'xhr-post': (u) => xhr('POST', u('json'), () => {}, true, 'a=b'),
  'xhr-delete': (u) => xhr('DELETE', u('json')),
  'xhr-sync': (u) => xhr('GET', u('json'), () => {}, false),
  'beacon-text': (u) => navigator.sendBeacon(u('json'), 'a=b'),
  'beacon-form': (u) => navigator.sendBeacon(u('json'), new URLSearchParams({ a: 'b' })),
  'event-source': (u) => new EventSource(u('es')),
  'event-source-credentials': (u) => new EventSource(u('es'), { withCredentials: true }),
  'web-socket': (u) => new WebSocket(u('json').replace('http:', 'ws:')),
  'image-object': (u) => (new Image().src = u('png')),
  'dynamic-import': (u) => import(u('js')),
  'dedicated-worker': (u) => worker(`fetch('${u('json')}', { mode: 'no-cors' })`),
  'dedicated-worker-import-scripts': (u) => worker(`importScripts('${u('js')}')`),
  'module-worker': (u) => worker(`import '${u('js')}'`, { type: 'module' }),
  'worker-in-worker': (u) => worker(`new Worker(URL.createObjectURL(new Blob(["fetch('${u('json')}', {mode: 'no-cors'})"])))`),
  'shared-worker': (u) => new SharedWorker(blob(`fetch('${u('json')}', { mode: 'no-cors' })`)),
  'service-worker-cache': (u) => caches.open('x').then((cache) => cache.add(new Request(u('json'), { mode: 'no-cors' }))),

  // Elements.
  img: (u) => add('img', { src: u('png') }),
  'img-srcset': (u) => add('img', { srcset: `${u('png')} 1x` }),
  'img-crossorigin': (u) => add('img', { src: u('png'), crossorigin: 'use-credentials' }),
  'img-no-referrer': (u) => add('img', { src: u('png'), referrerpolicy: 'no-referrer' }),
  picture: (u) => {
    const source = Object.assign(document.createElement('source'), { srcset: u('png') });
    add('picture', {}, [source, document.createElement('img')]);
  },
  'input-image': (u) => add('input', { type: 'image', src: u('png') }),
  'body-background': (u) => frame(`<body background="${u('png')}">x`),
  'table-background': (u) => add('table', { background: u('png'), width: 9, height: 9 }),
  script: (u) => add('script', { src: u('js') }),
  'script-module': (u) => add('script', { src: u('js'), type: 'module' }),
  'script-crossorigin': (u) => add('script', { src: u('js'), crossorigin: 'anonymous' }),
  'script-integrity': (u) => add('script', { src: u('js'), integrity: 'sha256-x', crossorigin: 'use-credentials' }),
  'script-static-import': (u) => add('script', { type: 'module' }, [`import '${u('js')}'`]),
  'import-map': (u) => frame(`<script type=importmap>{"imports":{"a":"${u('js')}"}}</script><script type=module>import 'a'</script>`),
  'document-write': (u) => frame(`<script>document.write('<scr' + 'ipt src="${u('js')}"></scr' + 'ipt>')</script>`),
  'link-stylesheet': (u) => link('stylesheet', u('css')),
  'link-stylesheet-print': (u) => link('stylesheet', u('css'), { media: 'print' }),
  'link-icon': (u) => link('icon', u('png')),
  'link-manifest': (u) => link('manifest', u('json')),
  'link-preload-image': (u) => link('preload', u('png'), { as: 'image' }),
  'link-preload-script': (u) => link('preload', u('js'), { as: 'script' }),
  'link-preload-style': (u) => link('preload', u('css'), { as: 'style' }),
  'link-preload-fetch': (u) => link('preload', u('json'), { as: 'fetch', crossOrigin: 'use-credentials' }),
  'link-preload-font': (u) => link('preload', u('woff2'), { as: 'font', crossOrigin: 'anonymous' }),
  'link-modulepreload': (u) => link('modulepreload', u('js')),
  'link-prefetch': (u) => link('prefetch', u('html')),
  'link-field-preload': (u) => add('iframe', { src: say({ Link: `<${u('css')}>; rel=preload; as=style`, body: 'x' }) }),
  'link-field-stylesheet': (u) => add('iframe', { src: say({ Link: `<${u('css')}>; rel=stylesheet`, body: 'x' }) }),
  iframe: (u) => add('iframe', { src: u('html') }),
  'iframe-sandbox': (u) => add('iframe', { src: u('html'), sandbox: '' }),
  'iframe-lazy': (u) => document.body.prepend(add('iframe', { src: u('html'), loading: 'lazy', width: 9, height: 9 })),
  'iframe-no-referrer': (u) => add('iframe', { src: u('html'), referrerpolicy: 'no-referrer' }),
  'opaque-frame': (u) => frame(`<img src="${u('png')}">`, { sandbox: '' }),
  'data-frame': (u) => add('iframe', { src: `data:text/html,<img src="${u('png')}">` }),
  'frame-set': (u) => frame(`<frameset><frame src="${u('html')}"></frameset>`),
  object: (u) => add('object', { data: u('html'), width: 9, height: 9 }),
  embed: (u) => add('embed', { src: u('html'), width: 9, height: 9 }),
  video: (u) => add('video', { src: u('mp4'), preload: 'auto' }),
  'video-poster': (u) => add('video', { poster: u('png'), width: 9, height: 9 }),
  audio: (u) => add('audio', { src: u('mp4'), preload: 'auto' }),
  'media-source': (u) => add('video', { preload: 'auto' }, [Object.assign(document.createElement('source'), { src: u('mp4') })]),
  track: (u) => {
    const track = Object.assign(document.createElement('track'), { src: u('vtt'), kind: 'captions', default: true });
    const video = add('video', { crossorigin: 'anonymous' }, [track]);
    video.textTracks[0].mode = 'showing';
  },

  // Style.
  'css-import': (u) => style(`@import url("${u('css')}");`),
  'css-import-of-another': (u) => link('stylesheet', say({ 'Content-Type': 'text/css', body: `@import url("${u('css')}");` })),
  'css-background': (u) => styled(`background: url("${u('png')}")`),
  'css-image-set': (u) => styled(`background: image-set(url("${u('png')}") 1x)`),
  'css-list-style': (u) => styled(`display: list-item; list-style-image: url("${u('png')}")`),
  'css-border-image': (u) => styled(`border: 1px solid; border-image: url("${u('png')}") 1`),
  'css-mask': (u) => styled(`mask-image: url("${u('png')}")`),
  'css-shape': (u) => styled(`float: left; shape-outside: url("${u('png')}")`),
  'css-filter': (u) => styled(`filter: url("${u('svg')}#f")`),
  'css-content': (u) => style(`#x-${location.port}::before { content: url("${u('png')}") }`) && add('p', { id: `x-${location.port}` }),
  'css-font': (u) => {
    const name = `f${Math.random()}`.replace('.', '');
    style(`@font-face { font-family: ${name}; src: url("${u('woff2')}") }`);
    styled(`font-family: ${name}`);
  },
  'font-face-object': (u) => void new FontFace('x', `url("${u('woff2')}")`).load(),

  // Drawings.
  'svg-image': (u) => svg('image', { href: u('png'), width: 9, height: 9 }),
  'svg-fe-image': (u) => svg('feImage', { href: u('png') }),
  'svg-script': (u) => svg('script', { href: u('js') }),
  'svg-document': (u) => frame(`<svg xmlns="http://www.w3.org/2000/svg"><image href="${u('svg')}" width="9" height="9"/></svg>`),

  // Going there.
  'form-get': (u) => form('get', u('html')),
  'form-post': (u) => form('post', u('html')),
  'form-post-text': (u) => form('post', u('html'), { enctype: 'text/plain' }),
  'form-post-multipart': (u) => form('post', u('html'), { enctype: 'multipart/form-data' }),
  'location-assign': (u) => frame(`<script>location.assign('${u('html')}')</script>`),
  'location-replace': (u) => frame(`<script>location.replace('${u('html')}')</script>`),
  'location-of-another': (u) => (blank(u('html')).contentWindow.location = u('html')),
  'meta-refresh': (u) => add('iframe', { src: say({ body: `<meta http-equiv=refresh content="0; url=${u('html')}">` }) }),
  'refresh-field': (u) => add('iframe', { src: say({ Refresh: `0; url=${u('html')}`, body: 'x' }) }),
  'click': (u) => click({ href: u('html') }),
  'click-no-referrer': (u) => click({ href: u('html'), rel: 'noreferrer' }),
  'ping': (u) => click({ href: 'about:blank', ping: u('html') }),

  // By way of the page's own server.
  'redirect-302-image': (u) => add('img', { src: say({ status: 302, Location: u('png') }) }),
  'redirect-302-frame': (u) => add('iframe', { src: say({ status: 302, Location: u('html') }) }),
  'redirect-307-post': (u) => fetch(say({ status: 307, Location: u('json') }), { mode: 'no-cors', method: 'POST', body: 'a=b' }),
  'redirect-308-form': (u) => form('post', say({ status: 308, Location: u('html') })),
  'redirect-303-form': (u) => form('post', say({ status: 303, Location: u('html') })),
  'redirect-302-script': (u) => add('script', { src: say({ status: 302, Location: u('js') }) }),
  'redirect-302-beacon': (u) => navigator.sendBeacon(say({ status: 307, Location: u('json') }), 'a=b'),

  // Behind the page's back.
  'csp-report': (u) => add('iframe', { src: say({ 'Content-Security-Policy': `img-src 'none'; report-uri ${u('json')}`, body: '<img src="/x.png">' }) }),

  // In windows of their own; last, as a page behind another one is slow.
  'window-open': (u) => popups.push(open(u('html'))),
  'window-open-no-opener': (u) => void open(u('html'), '', 'noopener,noreferrer'),
  'redirect-302-popup': (u) => popups.push(open(say({ status: 302, Location: u('html') }))),
};

const popups = [];
const name = (way, ext) => `${way}.${ext}`;

const attempt = async (way, address) => {
  try {
    await ways[way]((ext) => `${address}/${name(way, ext)}`);
  } catch {
    // It is no way of this browser, or was refused: what the servers saw is what counts.
  }
};

const settled = async (list) => Promise.race([Promise.allSettled(list), new Promise((done) => setTimeout(done, 2_000))]);

/** Spellings that the browser itself turns into one of the others need not be tried in every way. */
const SHORT = ['fetch-no-cors', 'fetch-post-text', 'img', 'iframe', 'form-post', 'web-socket'];

const main = async () => {
  for (const way of Object.keys(ways)) {
    const addresses = [...targets, ...(SHORT.includes(way) ? aliases : [])];
    // The control last: once its request has come, the others are on their way.
    addresses.splice(way.startsWith('speculation') ? 0 : addresses.length, 0, control);
    await settled(addresses.map((address) => attempt(way, address)));
  }
  // What has not come while nothing else came for a while, comes no more.
  let [missing, since] = [Object.keys(ways), Date.now()];
  while (missing.length && Date.now() - since < 3_000) {
    const seen = await (await fetch('/seen')).json();
    const still = Object.keys(ways).filter((way) => !seen.includes(way));
    if (still.length < missing.length) since = Date.now();
    missing = still;
    await new Promise((done) => setTimeout(done, 100));
  }
  for (const popup of popups) popup?.close();
  await fetch(`/done?${new URLSearchParams({ missing, tried: Object.keys(ways).length })}`);
};
main();
