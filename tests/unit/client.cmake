# The client library's parts that need no sockets.
netpool_test(dialogue LABEL unit SOURCES test_dialogue.c dialogue_lab.c LINKS np_client)
netpool_test(dialogue_resume LABEL unit SOURCES test_dialogue_resume.c dialogue_lab.c LINKS np_client)
netpool_test(dialogue_wishes LABEL unit SOURCES test_dialogue_wishes.c dialogue_lab.c LINKS np_client)
netpool_test(arguments LABEL unit SOURCES test_arguments.c LINKS np_client)
target_link_options(test_dialogue_resume PRIVATE -Wl,--wrap=np_table_put,--wrap=np_buffer_append)
netpool_test(profile LABEL unit SOURCES test_profile.c LINKS np_client)
netpool_test(chunk_size LABEL unit SOURCES test_chunk_size.c LINKS np_client)
netpool_test(reduce_tree LABEL unit SOURCES test_reduce_tree.c LINKS np_client)
