'use strict';
// The client under all SDKs of the vendor that are generated today; they send every body in chunks.
const { assert, fails, run, settings } = require('./checks.cjs');
const { default: OpenApi, Config, OpenApiRequest, Params } = require('@alicloud/openapi-client');
const { RuntimeOptions } = require('@alicloud/tea-util');

const made = (others = {}) => new OpenApi(new Config({
  accessKeyId: settings.id,
  accessKeySecret: settings.secret,
  endpoint: settings.url.replace('http://', ''),
  protocol: 'http',
  ...others,
}));
const params = (action, version, others) => new Params({
  action, version, protocol: 'HTTP', method: 'POST', authType: 'AK', style: 'RPC', pathname: '/', reqBodyType: 'formData', bodyType: 'json', ...others,
});
const call = async (client, given, request) => (
  (await client.callApi(given, new OpenApiRequest(request), new RuntimeOptions({}))).body
);
const PAI = { style: 'ROA', reqBodyType: 'json' };
const ONE = '/api/automl/v1/hpo/experiment';
const create = (client) => call(client, params('CreateHpoExperiment', '2022-08-28', { ...PAI, pathname: ONE }), {
  headers: {}, query: {}, body: { Name: 'é', Description: 'made by Node.js' },
});
const list = (client, query = { Name: 'é b' }) => call(
  client, params('ListHpoExperiments', '2022-08-28', { ...PAI, method: 'GET', pathname: `${ONE}s` }), { headers: {}, query },
);
const identity = (client) => call(client, params('GetCallerIdentity', '2015-04-01'), { query: {} });
const put = (client) => call(client, params('PutEvents', '2020-04-01'), {
  query: { EventBusName: 'default' },
  body: { EventList: JSON.stringify([{ id: '1', source: 'hé re', type: 't', data: { n: 1 } }]) },
});
const older = () => made({ signatureAlgorithm: 'v2' });

run('@alicloud/openapi-client', {
  'PAI AutoML create': async () => assert.ok((await create(made())).ExperimentId),
  'PAI AutoML list': async () => assert.equal((await list(made())).TotalCount, 0),
  'PAI AutoML create, signature version 1': async () => assert.ok((await create(older())).ExperimentId),
  'PAI AutoML list, signature version 1': async () => assert.equal((await list(older())).TotalCount, 0),
  'STS': async () => assert.equal((await identity(made())).IdentityType, 'Account'),
  'STS, signature version 1': async () => assert.equal((await identity(older())).IdentityType, 'Account'),
  'STS with a token': async () => {
    assert.equal((await identity(made({ securityToken: settings.token }))).IdentityType, 'Account');
  },
  'EventBridge put': async () => assert.equal((await put(made())).Data.FailedEntryCount, 0),
  'EventBridge put, signature version 1': async () => assert.equal((await put(older())).Data.FailedEntryCount, 0),
  'a wrong secret': () => fails(identity(made({ accessKeySecret: 'x' })), 'SignatureDoesNotMatch'),
  'a service that is not here': () => fails(
    call(made(), params('DescribeInstances', '2014-05-26'), { query: {} }), 'no service',
  ),
});
