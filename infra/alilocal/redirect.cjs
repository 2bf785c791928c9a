// Directs the calls of a Node.js program for Alibaba Cloud's hosts to a local cloud, without TLS:
//
//     eval "$(alilocal env --node)"     # sets NODE_OPTIONS and ALILOCAL_URL
//
// For programs whose endpoints cannot be configured, such as the tools that ask for service-linked roles. The calls of
// `http`, `https` and `fetch` are directed; other clients, such as `http2` and the package undici, are refused before
// they look up the host.
'use strict';

const http = require('http');
const https = require('https');
const { syncBuiltinESMExports } = require('module');
const { Socket } = require('net');

const target = new URL(process.env.ALILOCAL_URL || 'http://127.0.0.1:7600');
const plain = http.request;
const CLOUD = /(^|\.)aliyuncs\.com$/i;

function redirected(original) {
  return function request(...given) {
    const address = typeof given[0] === 'string' ? new URL(given[0]) : given[0];
    const isUrl = address instanceof URL;
    const options = typeof given[isUrl ? 1 : 0] === 'object' ? given[isUrl ? 1 : 0] : {};
    const callback = given.find((one) => typeof one === 'function');
    const host = options.hostname || options.host || (isUrl ? address.hostname : '') || '';
    const name = host.split(':')[0];
    if (!CLOUD.test(name)) {
      return original.apply(this, given);
    }
    const path = options.path || (isUrl ? address.pathname + address.search : '/');
    const headers = { ...options.headers };
    if (!Object.keys(headers).some((one) => one.toLowerCase() === 'host')) {
      headers.Host = name;
    }
    const own = { protocol: 'http:', hostname: target.hostname, port: target.port, path, headers };
    return plain.call(http, { ...options, ...own, host: undefined, agent: undefined }, callback);
  };
}

for (const module of [http, https]) {
  module.request = redirected(module.request);
  module.get = function get(...given) {
    const request = module.request(...given);
    request.end();
    return request;
  };
}

const ownFetch = globalThis.fetch;
const WITHOUT_BODY = [204, 205, 304];

if (ownFetch) {
  globalThis.fetch = async function fetch(input, init) {
    const request = new Request(input, init);
    const url = new URL(request.url);
    if (!CLOUD.test(url.hostname)) {
      return ownFetch(input, init);
    }
    request.signal.throwIfAborted();
    // With `fetch` itself, the header Host, which signatures cover, would be that of the local cloud.
    const body = Buffer.from(await request.arrayBuffer());
    const headers = { ...Object.fromEntries(request.headers), 'Content-Length': body.length };
    return new Promise((resolve, reject) => {
      const options = { method: request.method, headers, signal: request.signal };
      const sent = https.request(url, options, (answer) => {
        const parts = [];
        answer.on('data', (part) => parts.push(part));
        answer.on('error', reject);
        answer.on('end', () => {
          const { statusCode: status, statusMessage: statusText } = answer;
          const content = WITHOUT_BODY.includes(status) ? null : Buffer.concat(parts);
          resolve(new Response(content, { status, statusText, headers: answer.headers }));
        });
      });
      sent.on('error', (error) => reject(request.signal.aborted ? request.signal.reason : failed(error)));
      sent.end(body);
    });
  };
}

function failed(cause) {
  return new TypeError('fetch failed', { cause });
}

const connect = Socket.prototype.connect;

Socket.prototype.connect = function connectElsewhere(...given) {
  // `net.connect` and `tls.connect` give a list that begins with the options.
  const isList = Array.isArray(given[0]);
  const options = isList ? given[0][0] : typeof given[0] === 'object' ? given[0] : { port: given[0], host: given[1] };
  if (CLOUD.test(String((options && options.host) || ''))) {
    const refused = { ...options, lookup: refuse };
    if (isList) {
      given[0][0] = refused;
    } else {
      given = [refused, ...given.filter((one) => typeof one === 'function')];
    }
  }
  return connect.apply(this, given);
};

function refuse(host, _options, callback) {
  const text = `this client cannot be directed to the local cloud, and is kept from ${host}: use http, https or fetch`;
  callback(Object.assign(new Error(text), { code: 'ECONNREFUSED' }));
}
syncBuiltinESMExports();
