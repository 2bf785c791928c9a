// Directs the calls of a Node.js program for Alibaba Cloud's hosts to a local cloud, without TLS:
//
//     eval "$(alilocal env --node)"     # sets NODE_OPTIONS and ALILOCAL_URL
//
// For programs whose endpoints cannot be configured, such as the tools that ask for service-linked roles.
'use strict';

const http = require('http');
const https = require('https');
const { syncBuiltinESMExports } = require('module');

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
syncBuiltinESMExports();
