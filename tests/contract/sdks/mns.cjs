'use strict';
const { assert, fails, run, settings } = require('./checks.cjs');
const Client = require('@alicloud/mns');

const made = (secret) => new Client('1000000000000001', {
  region: 'cn-local', accessKeyId: settings.id, accessKeySecret: secret, endpoint: settings.url,
});
const client = made(settings.secret);
let handle;

run('@alicloud/mns', {
  'createQueue': () => client.createQueue('orders', { VisibilityTimeout: 30 }),
  'listQueue': async () => assert.equal((await client.listQueue(0, 10, '')).code, 200),
  'setQueueAttributes': () => client.setQueueAttributes('orders', { VisibilityTimeout: 40 }),
  'getQueueAttributes': async () => {
    assert.equal((await client.getQueueAttributes('orders')).body.VisibilityTimeout, '40');
  },
  'sendMessage': async () => assert.ok((await client.sendMessage('orders', { MessageBody: 'héllo' })).body.MessageId),
  'batchSendMessage': () => client.batchSendMessage('orders', [{ MessageBody: 'one' }, { MessageBody: 'two' }]),
  'peekMessage': async () => assert.ok((await client.peekMessage('orders')).body.MessageBody),
  'batchPeekMessage': async () => assert.equal((await client.batchPeekMessage('orders', 3)).body.length, 3),
  'receiveMessage': async () => {
    handle = (await client.receiveMessage('orders', 1)).body.ReceiptHandle;
    assert.ok(handle);
  },
  'changeMessageVisibility': async () => {
    handle = (await client.changeMessageVisibility('orders', handle, 60)).body.ReceiptHandle;
  },
  'deleteMessage': () => client.deleteMessage('orders', handle),
  'batchReceiveMessage and batchDeleteMessage': async () => {
    const { body } = await client.batchReceiveMessage('orders', 2, 1);
    await client.batchDeleteMessage('orders', body.map((one) => one.ReceiptHandle));
  },
  'receiveMessage of nothing': () => fails(client.receiveMessage('orders', 0), 'MessageNotExist'),
  'createTopic': () => client.createTopic('news', {}),
  'listTopic': async () => assert.equal((await client.listTopic(0, 10, '')).code, 200),
  'getTopicAttributes': async () => assert.equal((await client.getTopicAttributes('news')).body.TopicName, 'news'),
  'publishMessage': async () => {
    assert.ok((await client.publishMessage('news', { MessageBody: 'news' })).body.MessageId);
  },
  'deleteTopic': () => client.deleteTopic('news'),
  'deleteQueue': () => client.deleteQueue('orders'),
  'a wrong secret': () => fails(made('wrong').listQueue(0, 10, ''), 'SignatureDoesNotMatch'),
});
